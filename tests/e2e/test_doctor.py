"""`ember doctor` looks at the machine by doing, and `--state` at the store, beside a server or without."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import EMBERD, REPOSITORY, Server, processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


def by_check(findings: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    checks: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        assert finding["verdict"] in ("ok", "warning", "trouble")
        assert finding["next_step"] or finding["verdict"] == "ok", finding
        checks.setdefault(finding["check"], []).append(finding)
    return checks


def examine(server: Server, *options: str) -> dict[str, list[dict[str, Any]]]:
    """What doctor finds; its status says whether any of it is a trouble."""
    done = subprocess.run(
        server.command("doctor", "--json", *options), env=server.environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    report = json.loads(done.stdout)
    troubles = [one for one in report["findings"] if one["verdict"] == "trouble"]
    assert report["ok"] == (troubles == [])
    assert done.returncode == (5 if troubles else 0), report
    return by_check(report["findings"])


def strange_cgroups() -> set[Path]:
    """Those of nodes but for the nodes of other tests."""
    others = {path.read_text().strip() for path in Path("/tmp").glob("ember-*/node/node_id")}
    root = Path("/sys/fs/cgroup")
    groups = {*root.glob("ember/*"), *root.glob("*/ember/*")}
    return {group for group in groups if group.is_dir() and group.name not in others}


def test_doctor_runs_a_function_before_up_and_leaves_nothing(data: Path) -> None:
    server = Server(data)
    before = strange_cgroups()
    checks = examine(server)
    for name in ("privileges", "namespaces", "cgroups", "disk", "clock", "open files", "GPU"):
        assert checks[name], name
    for name in ("crun", "tini-static", "slirp4netns", "uv", "python3"):
        (finding,) = checks[name]
        assert finding["verdict"] != "ok" or any(c.isdigit() for c in finding["text"])
    (trial,) = checks["self-test"]
    assert trial["verdict"] in ("ok", "warning"), trial
    assert "a function ran" in trial["text"]
    assert list(data.iterdir()) == []
    assert processes_of(data) == []
    assert strange_cgroups() <= before


def test_doctor_beside_a_server_harms_nothing(own_server: Server) -> None:
    server = own_server
    server.deploy("versions.py")
    warm = server.call("versions", "version").headers["ember-container-id"]
    checks = examine(server)
    assert "a function ran" in checks["self-test"][0]["text"]
    assert server.call("versions", "version").headers["ember-container-id"] == warm
    text = server.cli("doctor", status=0 if all_fine(checks) else 5).stdout.splitlines()
    assert any(line.startswith("ok") and "self-test" in line for line in text) or any(
        line.startswith("warning") and "self-test" in line for line in text
    )


def all_fine(checks: dict[str, list[dict[str, Any]]]) -> bool:
    return not any(one["verdict"] == "trouble" for found in checks.values() for one in found)


def test_doctor_tells_an_ordinary_user_what_they_lack(data: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    data.chmod(0o777)
    python = REPOSITORY / "python" / "ember"
    import cloudpickle

    done = subprocess.run(
        [EMBERD, "doctor", "--json", "--data", data, "--python", f"ember={python}", "--python",
         f"cloudpickle={Path(cloudpickle.__file__).parent}"],
        capture_output=True, text=True, timeout=120, user=NOBODY, group=NOBODY, extra_groups=[],
    )  # fmt: skip
    if "Permission denied" in done.stderr:
        pytest.skip("the checkout is closed to other users")
    checks = by_check(json.loads(done.stdout)["findings"])
    (privileges,) = checks["privileges"]
    assert privileges["verdict"] == "warning"
    assert "as root" in privileges["next_step"]
    assert any("without" in one["text"] or "none" in one["text"] for one in checks["isolation"])
    assert "plain process" in checks["self-test"][0]["text"]
    assert list(data.iterdir()) == []


def test_doctor_names_what_is_missing(data: Path) -> None:
    server = Server(data)
    server.environment["PATH"] = "/nowhere"
    checks = examine(server)
    (crun,) = checks["crun"]
    assert crun["verdict"] == ("trouble" if os.geteuid() == 0 else "warning")
    assert "apt-get install crun" in crun["next_step"]


@pytest.fixture
def state(own_server: Server) -> Iterator[Path]:
    """The database of a server that has billed some containers, after all of them ended."""
    server = own_server
    server.deploy("short_lived.py")
    server.result("short-lived", "f")
    wait_until("scaled to zero", lambda: not server.containers("short-lived"))
    path = server.data / "serve" / "state.db"
    wait_until("it is billed", lambda: server.json("cost")["rows"])
    yield path


def test_doctor_state_finds_what_was_changed_in_a_copy(own_server: Server, state: Path) -> None:
    server = own_server
    assert examine(server, "--state")["ledger"][0]["verdict"] == "ok"
    copy = server.data / "copy"
    copy.mkdir()
    for name in ("state.db", "state.db-wal"):
        if (state.parent / name).exists():
            shutil.copy(state.parent / name, copy / name)
    database = copy / "state.db"
    assert examine(server, "--state", "--database", str(database))["ledger"][0]["verdict"] == "ok"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE ledger SET amount_nano_usd = amount_nano_usd + 1")
    found = examine(server, "--state", "--database", str(database))["ledger"]
    assert all(one["verdict"] == "trouble" for one in found)
    assert any("a wrong amount" in one["text"] for one in found)
    # The server's own is as it was.
    assert examine(server, "--state")["ledger"][0]["verdict"] == "ok"
    shown = server.cli("doctor", "--state", "--database", database, status=5)
    assert "trouble" in shown.stdout and "next:" in shown.stdout
