"""`ember run`: an app for this once, with logs, result, phases and price."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, REPOSITORY, Server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

HELLO = REPOSITORY / "examples" / "hello.py"


def ephemeral_apps(server: Server) -> list[str]:
    apps = server.http("GET", "/api/v1/apps").document["apps"]
    return [app["name"] for app in apps if app["state"] == "ephemeral"]


def test_the_example_greets_whom_its_option_names(server: Server) -> None:
    done = server.cli("run", HELLO, "--name", "Ada")
    assert done.stdout == "Hello, Ada!\n"
    assert "greeting Ada from" in done.stderr  # the function's own line, live
    assert "$0." in done.stderr  # the price
    assert "execute" in done.stderr
    assert ephemeral_apps(server) == []


def test_an_entrypoint_s_options_may_stand_in_place_or_be_left_out(server: Server) -> None:
    assert server.cli("run", HELLO, "Grace").stdout == "Hello, Grace!\n"
    assert server.cli("run", HELLO).stdout == "Hello, world!\n"


def test_a_named_function_is_called_and_its_result_is_json(server: Server) -> None:
    done = server.cli("run", f"{APPS / 'basics.py'}::add", "2", "--b", "3", "--no-prices")
    assert done.stdout == "5\n"
    assert "elsewhere" not in done.stderr


def test_a_bytes_parameter_is_read_from_the_named_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\x00\xff" * 1000)
    for word in (path, f"@{path}"):
        done = server.cli("run", f"{APPS / 'basics.py'}::digest", word)
        assert json.loads(done.stdout)["size"] == 2000


def test_prices_elsewhere_come_with_the_report_of_a_gpu_call(server: Server) -> None:
    done = server.cli("run", f"{APPS / 'basics.py'}::on_gpu")
    assert "elsewhere" in done.stderr
    assert "L4 (simulated)" in done.stderr


def test_an_exception_shows_the_user_s_frames_and_ends_with_1(server: Server) -> None:
    done = server.cli("run", f"{APPS / 'failures.py'}::fail", "raise", status=1)
    assert "in deep" in done.stderr
    assert "Unhappy: no luck today" in done.stderr
    assert "ember/cli" not in done.stderr  # frames of ours are behind --trace
    assert "1 call · $0." in done.stderr
    assert ephemeral_apps(server) == []


@pytest.mark.parametrize(("kind", "why"), [("mute", "RuntimeError"), ("no_text", "TypeError")])
def test_an_exception_that_fails_at_its_own_text_is_user_code_s(
    server: Server, failures: str, kind: str, why: str
) -> None:
    for words in (("run", f"{APPS / 'failures.py'}::fail"), ("call", f"{failures}.fail")):
        done = server.cli(*words, kind, status=1)
        assert f"Mute: (its text can't be had: {why})" in done.stderr
        assert "in deep" in done.stderr
        assert "next: ember call show fc-" in done.stderr


@pytest.mark.parametrize(
    ("kind", "told", "has_frames"),
    [
        ("raise", "Unhappy", True),
        ("key", "KeyError", True),
        ("timeout", "FunctionTimeoutError", False),
        ("os_exit", "ContainerCrashedError", False),
        ("nowhere", "NotFoundError", False),
    ],
)
def test_an_error_keeps_its_type_and_frames_through_a_nested_call(
    server: Server, kind: str, told: str, has_frames: bool
) -> None:
    lines = server.cli("run", APPS / "nested.py", kind).stdout.splitlines()
    assert lines == [f"{told} {has_frames} {depth}" for depth in (0, 1, 1)]


def test_siblings_are_imported_as_at_home(server: Server) -> None:
    done = server.cli("run", f"{APPS / 'siblings_app' / 'main.py'}::f", "3", cwd=APPS)
    assert done.stdout == '"7 apples"\n'


def test_a_script_that_does_not_import_shows_its_own_error_first(server: Server) -> None:
    done = server.cli("run", APPS / "does_not_import.py", status=1)
    assert "No module named 'no_such_module_anywhere'" in done.stderr
    assert "ember/cli" not in done.stderr


@pytest.mark.parametrize("status", ["0", "3", "'bye'", ""])
def test_a_script_that_exits_while_it_is_imported_is_named(
    server: Server, tmp_path: Path, status: str
) -> None:
    script = tmp_path / "exits.py"
    script.write_text(f"import sys\nimport ember\napp = ember.App('exits')\nsys.exit({status})\n")
    for command in ("run", "deploy"):
        told = server.cli(command, script, status=1).stderr
        assert f"error: {script} can't be imported: SystemExit" in told
        assert "line 4" in told and "ember/cli" not in told


def test_a_script_that_imports_only_here_fails_with_its_container_s_error(server: Server) -> None:
    done = server.cli("run", f"{APPS / 'imports_only_here.py'}::hello", status=1)
    assert "not at home in a container" in done.stderr


def test_what_is_not_in_the_file_is_said(server: Server, tmp_path: Path) -> None:
    assert "no app" in server.cli("run", APPS / "no_app.py", status=2).stderr.lower()
    two = server.cli("run", APPS / "two_apps.py", status=2).stderr
    assert "first" in two and "second" in two
    missing = server.cli("run", f"{APPS / 'basics.py'}::ad", status=2).stderr
    assert "add" in missing  # did you mean
    assert "is not there" in server.cli("run", tmp_path / "none.py", status=2).stderr


def test_arguments_that_do_not_fit_are_refused_before_anything_runs(server: Server) -> None:
    function = f"{APPS / 'basics.py'}::add"
    assert "not an integer" in server.cli("run", function, "two", status=2).stderr
    assert "needs a" in server.cli("run", function, status=2).stderr
    assert "no parameter" in server.cli("run", function, "1", "--c", "3", status=2).stderr
    assert "no place" in server.cli("run", function, "1", "2", "3", status=2).stderr


def test_interrupting_a_run_cancels_its_call_and_cleans_up(server: Server) -> None:
    with server.start("run", APPS / "waiting.py") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready" in line:
                break
        (name,) = ephemeral_apps(server)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert ephemeral_apps(server) == []
    calls = server.http("GET", f"/api/v1/calls?app={name}&limit=10").document["calls"]
    assert [call["state"] for call in calls] == ["cancelled"]
    wait_until("no container of it", lambda: server.containers(name) == [])


def test_a_second_interrupt_ends_at_once(server: Server) -> None:
    with server.start("run", APPS / "waiting.py") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready" in line:
                break
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    # What it could not clean up, the server does when its heartbeats stay away.
    wait_until("no app of it", lambda: ephemeral_apps(server) == [])


def test_without_a_server_the_next_step_is_said(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Server(data).cli("run", HELLO, status=5)
    assert "ember up" in done.stderr
