"""The command line against a server that answers what the test says."""

from __future__ import annotations

import base64
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fake_server import FakeServer, document

import ember
from ember.cli import _progress, _terminal, _waiting, main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fake_server import Answer, Asked

GREET = {
    "name": "greet",
    "parameters": [
        {"name": "name", "kind": "positional_or_keyword", "annotation": "str", "required": True},
        {"name": "photo", "kind": "keyword_only", "annotation": "bytes", "required": False},
    ],
}
APP: dict[str, Any] = {"name": "hello", "state": "deployed", "updated_ms": 1, "rollout": None}
CALL = {
    "call_id": "fc-1", "app": "hello", "function": "greet", "state": "succeeded", "cold": True,
    "arrived_ms": 1, "queued_us": 2_000_000, "execute_us": 1500, "total_us": 2_001_500,
    "cost_usd": "0.000000100", "reason": None, "container_id": "ct-1", "attempt": 1, "error": None,
    "phases_ms": {"queue": 2000, "boot": 300, "load": 40, "execute": 1},
}  # fmt: skip
OFFER = {
    "provider": "cheap", "gpu": "L4", "usd": "0.000000050", "price_per_hour_usd": "0.500000000",
    "valid_from": "2026-01-01", "source": "its page", "note": "",
}  # fmt: skip
COST = {
    "call_id": "fc-1", "cost_usd": "0.000000100", "start_cost_usd": "0.000000023",
    "gpu": "L4 (simulated)", "simulated": True, "elsewhere": [OFFER],
}  # fmt: skip


REPORT = {
    "call_id": "fc-1", "container_id": "ct-1", "cold": True, "queued_us": 2_000_000,
    "boot_ms": 300, "load_ms": 40, "execute_us": 1500, "total_us": 2_001_500,
}  # fmt: skip


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack("<BI", kind, len(body)) + body


def status_frame(reason: str, left_ms: int | None, *, phase: str = "starting") -> bytes:
    status = {"phase": phase, "ahead": 0, "left_ms": left_ms, "reason": reason}
    return frame(4, json.dumps(status).encode())


class World:
    """What the server has been asked, and by whom it can be asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Answer | Callable[[], Answer]] = {
            "/api/v1/apps": document({"apps": [APP]}),
            "/api/v1/apps/hello": document({"name": "hello", "functions": [GREET]}),
            "/fn/hello/greet": document(
                "Hello!", Ember_Call_Id="fc-1", Server_Timing="queue;dur=1.5"
            ),
            "/api/v1/calls": document({"calls": []}),
            "/api/v1/calls/fc-1": document(CALL),
            "/api/v1/cost": document({"rows": [], "total_usd": "0", "note": ""}),
            "/api/v1/calls/fc-1/cost": document(COST),
        }

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        error = {"code": "not_found", "message": f"no {asked.path}"}
        answer = self.answers.get(asked.path.partition("?")[0], document({"error": error}, 404))
        return answer() if callable(answer) else answer


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    from ember import _client

    world = World()
    server = FakeServer(world.answer)
    monkeypatch.setenv("EMBER_URL", server.url)
    monkeypatch.setenv("EMBER_KEY", "key")
    monkeypatch.setattr(_client, "_shared", None)
    yield world
    server.close()


def test_a_call_sends_words_by_the_parameters_and_reports(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(b"\x00\x01")
    assert main(["call", "hello.greet", "Ada", "--photo", f"@{photo}"]) == 0
    sent = next(asked for asked in world.asked if asked.path == "/fn/hello/greet")
    assert sent.json == {"name": "Ada", "photo": "AAE="}
    written = capsys.readouterr()
    assert written.out == '"Hello!"\n'
    assert "$0.000000123" in written.err  # execute and start, to the nano-dollar
    assert "queue 2.00 s (boot 300 ms, load 40 ms), execute 1.5 ms" in written.err
    assert "L4 (simulated)" in written.err
    assert "cheap" in written.err
    assert "\x1b" not in written.out + written.err


def test_what_runs_have_left_is_listed_only_on_request(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    past, live = ({**APP, "name": f"hello-run-0a1b2{n}", "state": "stopped"} for n in (3, 4))
    live["state"] = "ephemeral"
    stopped = {**APP, "name": "to-run-fast", "state": "stopped"}
    world.answers["/api/v1/apps"] = document({"apps": [APP, past, live, stopped]})
    assert main(["app", "list"]) == 0
    told = capsys.readouterr().out
    assert past["name"] not in told
    assert live["name"] in told and stopped["name"] in told
    assert main(["app", "list", "--all"]) == 0
    assert past["name"] in capsys.readouterr().out
    assert main(["app", "history", "xyz"]) == 2
    assert "there are: hello, hello-run-0a1b24, to-run-fast" in capsys.readouterr().err


def _bill(**used: int) -> dict[str, Any]:
    meters = {
        "gpu_ms": 0,
        "cpu_millicore_ms": 0,
        "memory_mib_ms": 0,
        "egress_bytes": 0,
        "disk_mib_ms": 0,
        **used,
    }
    return {"app": "hello", "meter": "egress", "usd": "0.000450000", "simulated": False, **meters}


def test_the_bill_shows_what_has_left_the_containers(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = _bill(cpu_millicore_ms=5_000_000, egress_bytes=5_000_000_007)
    bill = {"total_usd": "0.000450000", "note": ""}
    world.answers["/api/v1/cost"] = document({"rows": [sent, _bill(egress_bytes=9)], **bill})
    assert main(["cost"]) == 0
    told = capsys.readouterr().out
    assert "egress" in told and "5.000 core s" in told
    assert "5.000 GB" in told and "<0.001 GB" in told
    assert main(["cost", "--by", "meter"]) == 0
    assert "used" in capsys.readouterr().out
    assert main(["cost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["egress_bytes"] == 5_000_000_007


def test_the_bill_has_no_column_for_egress_where_there_was_none(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_bill(cpu_millicore_ms=5_000_000)]
    world.answers["/api/v1/cost"] = document({"rows": rows, "total_usd": "1.00", "note": ""})
    assert main(["cost"]) == 0
    assert "egress" not in capsys.readouterr().out


def test_a_call_that_waits_for_long_says_why_and_again_when_that_changes(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_LATE_S", "_REDRAW_S"):
        monkeypatch.setattr(_waiting, name, 0.01)
    said: list[str] = []
    come = threading.Condition()

    def say(text: str = "") -> None:
        with come:
            said.append(text)
            come.notify_all()

    def frames() -> Iterator[bytes]:
        for reason, left_ms in (("no free L4", None), ("no node", 2000)):
            yield status_frame(reason, left_ms)
            with come:
                assert come.wait_for(lambda reason=reason: any(reason in text for text in said), 30)
        yield status_frame("runs on a container", None, phase="running")
        yield from (frame(6, b'"Hello!"'), frame(3, json.dumps(REPORT).encode()))

    monkeypatch.setattr(_terminal, "say", say)
    headers = {"Content-Type": "application/x-ember-watched", "Ember-Call-Id": "fc-1"}
    world.answers["/fn/hello/greet"] = lambda: (200, headers, frames())
    assert main(["call", "hello.greet", "Ada"]) == 0
    assert said[:2] == ["waiting: no free L4", "waiting: no node, about 2 s left"]
    written = capsys.readouterr()
    assert written.out == '"Hello!"\n'


def test_a_call_that_had_to_wait_is_as_a_document_like_any_other(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    body = [status_frame("no node", None), frame(6, b"[1]"), frame(3, json.dumps(REPORT).encode())]
    headers = {"Content-Type": "application/x-ember-watched", "Ember-Call-Id": "fc-1"}
    world.answers["/fn/hello/greet"] = 200, headers, body
    assert main(["call", "hello.greet", "--json-args", "{}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["result"], told["cold"], told["container_id"]) == ([1], True, "ct-1")
    assert told["phases_ms"] == {"queue": 2000, "boot": 300, "load": 40, "execute": 1.5,
                                 "total": 2001.5}  # fmt: skip


def test_a_run_that_waits_for_long_says_why_and_again_when_that_changes(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("_LATE_S", 0.01), ("_LOOK_EVERY_S", 0.01), ("_LONG_US", 0)):
        monkeypatch.setattr(_waiting, name, value)
    world.answers["/api/v1/calls"] = document({"calls": [{**CALL, "state": "waiting"}]})
    shown = [
        document({**CALL, "reason": reason, "left_ms": left_ms})
        for reason, left_ms in (("no free L4", None), ("no node", 0))
    ]
    looks = iter([shown[0], shown[0], shown[1], shown[1]])
    told = threading.Event()

    def look() -> Answer:
        answer = next(looks, None)
        if answer is None:
            told.set()
        return answer or shown[1]

    world.answers["/api/v1/calls/fc-1"] = look
    with _waiting.WaitingTold("hello"):
        assert told.wait(30)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("waiting")]
    assert said == ["waiting: no free L4", "waiting: no node, any moment now"]


def test_a_call_that_is_answered_soon_asks_nothing_else(world: World) -> None:
    assert main(["call", "hello.greet", "--json-args", "{}", "--json"]) == 0
    assert [asked.path for asked in world.asked] == ["/fn/hello/greet", "/api/v1/calls/fc-1/cost"]


def test_a_call_as_a_document(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "hello.greet", "--json-args", '{"name": "Ada"}', "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["result"], told["call_id"], told["cost"]) == ("Hello!", "fc-1", COST)
    assert told["phases_ms"] == {"queue": 1.5}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["call", "helo.greet", "x"], "did you mean hello?"),
        (["call", "hello.great", "x"], "did you mean greet?"),
        (["call", "hello.great"], "did you mean greet?"),
        (["call", "hello.greet", "--nam", "x"], "did you mean name?"),
        (["call", "hello"], "it has: greet"),
        (["lgos"], "did you mean logs"),
        (["app", "lst"], "did you mean list"),
        (["cost", "--by", "functoin"], "did you mean function?"),
        (["app", "history", "helo"], "did you mean hello?"),
        (["logs", "helo"], "did you mean hello?"),
        (["cost", "--app", "helo"], "did you mean hello?"),
        (["call", "list", "--app", "helo"], "did you mean hello?"),
    ],
)
def test_a_wrong_name_ends_with_2_and_names_a_close_one(
    world: World, capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert hint in told.err
    assert "\nnext: " in told.err


@pytest.mark.parametrize(
    ("code", "http_status", "status"),
    [
        ("invalid_argument", 400, 2),
        ("unauthenticated", 401, 3),
        ("resource_exhausted", 429, 4),
        ("timed_out", 504, 1),
        ("container_crashed", 502, 1),
        ("unavailable", 503, 5),
        ("storage_failed", 507, 5),
        ("internal", 500, 5),
    ],
)
def test_error_codes_become_exit_statuses(
    world: World,
    capsys: pytest.CaptureFixture[str],
    code: str,
    http_status: int,
    status: int,
) -> None:
    error = {"code": code, "message": "the cause; the step", "call_id": "fc-1"}
    world.answers["/fn/hello/greet"] = document({"error": error}, http_status)
    assert main(["call", "hello.greet", "Ada"]) == status
    assert "error: the cause; the step" in capsys.readouterr().err


def test_arguments_that_the_function_refuses_end_with_how_to_give_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "invalid_argument", "message": 'missing "name"', "call_id": "fc-1"}
    world.answers["/fn/hello/greet"] = document({"error": error}, 400)
    assert main(["call", "hello.greet"]) == 2
    told = capsys.readouterr().err
    assert told == 'error: missing "name"\nnext: give hello.greet --name STR [--photo FILE]\n'


def test_a_call_of_a_stopped_app_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    del world.answers["/fn/hello/greet"]
    stopped = {"name": "hello", "state": "stopped", "functions": []}
    world.answers["/api/v1/apps/hello"] = document(stopped)
    for words in ([], ["Ada"]):
        assert main(["call", "hello.greet", *words]) == 2
        assert "app 'hello' is stopped" in capsys.readouterr().err


def test_user_code_that_failed_shows_its_own_frames_first(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    exception: dict[str, Any] = {
        "kind": "user_exception", "type": "Unhappy", "message": "no luck", "pickle": None,
        "traceback": 'Traceback:\n  File "hello.py", line 3, in greet\nUnhappy: no luck\n',
    }  # fmt: skip
    error = {"code": "user_exception", "message": "Unhappy: no luck", "call_id": "fc-1"}
    world.answers["/fn/hello/greet"] = document({"error": {**error, "exception": exception}}, 500)
    assert main(["call", "hello.greet", "Ada"]) == 1
    told = capsys.readouterr().err
    assert told.index("hello.py") < told.index("error: hello.greet failed: Unhappy: no luck")
    assert told.startswith("1 call · $0.000000123")  # it was billed like any other
    assert "ember/cli" not in told
    assert "next: ember call show fc-1" in told


class Trap:
    """What a container may send as a pickled exception: making it runs code."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_a_call_runs_no_code_that_came_from_the_container(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pickled = base64.b64encode(pickle.dumps(Trap(str(tmp_path / "ran")))).decode()
    exception = {
        "kind": "user_exception", "type": "KeyError", "message": "'k'", "pickle": pickled,
        "traceback": "Traceback:\n  hello.py\n",
    }  # fmt: skip
    error = {"code": "user_exception", "message": "", "call_id": "fc-1", "exception": exception}
    world.answers["/fn/hello/greet"] = document({"error": error}, 500)
    assert main(["call", "hello.greet", "Ada"]) == 1
    told = capsys.readouterr().err
    assert "hello.py" in told and "error: hello.greet failed: KeyError: 'k'" in told
    assert "next: ember call show fc-1" in told
    assert not (tmp_path / "ran").exists()


def test_a_cold_call_is_shown_with_the_steps_of_its_start(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {"placed": 1500, "sandbox": 20_000, "interpreter": 9000, "imports": 3000, "load": 2000}
    world.answers["/api/v1/calls/fc-1"] = document({**CALL, "start_us": start})
    assert main(["call", "show", "fc-1"]) == 0
    shown = capsys.readouterr().out
    assert "start     placed 1.5 ms, sandbox 20 ms, interpreter 9.0 ms, imports 3.0 ms" in shown


def test_a_call_that_has_not_ended_is_shown_without_a_price(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.answers["/api/v1/calls/fc-1"] = document(
        {**CALL, "state": "waiting", "reason": "no free L4"}
    )
    error = {"code": "conflict", "message": "it has not ended"}
    world.answers["/api/v1/calls/fc-1/cost"] = document({"error": error}, 409)
    assert main(["call", "show", "fc-1"]) == 0
    told = capsys.readouterr().out
    assert "no free L4" in told
    assert "price" not in told


@pytest.mark.parametrize(
    ("containers", "desired", "text"),
    [
        ({"starting": 0, "idle": 0, "busy": 0}, 0, "0"),
        ({"starting": 0, "idle": 1, "busy": 0}, 0, "1 idle"),
        ({"starting": 1, "idle": 0, "busy": 2}, 5, "1 starting, 2 busy of 5 wanted"),
    ],
)
def test_a_function_s_containers_are_told_with_those_that_are_wanted(
    world: World,
    capsys: pytest.CaptureFixture[str],
    containers: dict[str, int],
    desired: int,
    text: str,
) -> None:
    function = {
        "name": "greet", "gpu": "L4", "running": 0, "waiting": 0, "reason": "because",
        "containers": containers, "desired": desired,
    }  # fmt: skip
    world.answers["/api/v1/apps/hello"] = document({"name": "hello", "functions": [function]})
    assert main(["function", "list"]) == 0
    assert f"  {text}  " in capsys.readouterr().out.splitlines()[1]


def test_help_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["app", "--help"], ["deploy", "--help"], ["version"]):
        assert main(words) == 0
        assert capsys.readouterr().out
    assert main(["app"]) == 2


def test_version_is_that_of_the_package_and_of_emberd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    emberd = tmp_path / "emberd"
    monkeypatch.setenv("EMBER_EMBERD", str(emberd))
    emberd.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 7.8.9\n')
    emberd.chmod(0o755)
    assert main(["version"]) == 0
    ours, theirs = capsys.readouterr().out.splitlines()
    assert ours == f"ember {ember.__version__}"
    assert theirs == f"emberd 7.8.9 ({emberd})"
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": ember.__version__, "emberd_version": "7.8.9", "emberd": str(emberd),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/nowhere\n", None])
def test_an_emberd_without_a_version_is_said_to_have_none(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str | None,
) -> None:
    emberd = tmp_path / "emberd"
    monkeypatch.setenv("EMBER_EMBERD", str(emberd))
    if text is not None:
        emberd.write_text(text)
        emberd.chmod(0o755)
    assert main(["version"]) == 0
    told = capsys.readouterr()
    assert told.out == f"ember {ember.__version__}\n"
    assert str(emberd) in told.err
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["emberd_version"] is None


def test_no_command_imports_more_than_it_needs() -> None:
    """`inspect`, `typing` and the like cost more than a whole command may take."""
    script = (
        "import sys; from ember.cli import main; main(['app', 'list']);"
        "print([m for m in ('inspect', 'typing', 'dataclasses', 'http.client', 'email', 'asyncio',"
        " 'subprocess', 'shutil', 'pathlib', 'ctypes', 'difflib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True,
        env={"EMBER_URL": "http://127.0.0.1:1", "EMBER_KEY": "k",
             "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def in_a_shell(line: str) -> tuple[int, str]:
    """The status of a shell's command line, where `ember` is ours, and what it wrote."""
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        ["sh", "-c", f'ember() {{ "{sys.executable}" -m ember.cli "$@"; }}; {line}'],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["app list", "app list --json", "--help", "app list --help"])
def test_a_stdout_that_takes_nothing_is_one_line_and_status_5(world: World, command: str) -> None:
    full, closed = "No space left on device", "Bad file descriptor"
    for into, why in (("> /dev/full", full), (">&-", closed), ("<&- >&-", closed)):
        line = f"error: stdout cannot be written: {why}\n"
        assert in_a_shell(f"ember {command} {into}") == (5, line)


def test_a_stdout_whose_reader_has_had_enough_is_no_error(world: World) -> None:
    apps = [APP] * 10_000
    world.answers["/api/v1/apps"] = document({"apps": apps})
    assert in_a_shell("{ ember app list --json; echo $? >&2; } | true") == (0, "0\n")


@pytest.mark.parametrize("into", ["2>&-", "2> /dev/full", "2>&- <&-"])
def test_a_stderr_that_takes_nothing_changes_no_result(world: World, into: str) -> None:
    assert in_a_shell(f"ember call hello.greet Ada {into}") == (0, '"Hello!"\n')
    assert in_a_shell(f"ember call hello.greet {into} --nonsense 1") == (2, "")


def test_what_a_deploy_leaves_out_stands_under_its_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = _progress.Progress()
    for stage, line in (("source", "2 files"), ("left_out", "data/"), ("deploy", "hello")):
        progress(stage, line)
    progress.finish("hello version 1")
    lines = [" ".join(line.split()[:4]) for line in capsys.readouterr().err.splitlines()]
    assert [line.lstrip("✓+ ") for line in lines] == [
        "source 2 files", "left out data/", "hello version 1",
    ]  # fmt: skip
