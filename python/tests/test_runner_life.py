"""A runner from start to end: cancelled, stopped, left by its server, broken by its code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RunnerProcess, input_frame, wait_for_file

from ember.runner import _frames as frames

ECHO = """
@app.function()
def f(**kwargs):
    return kwargs
"""

# Each takes a millisecond or more of every cold start.
HEAVY = """
import sys

HEAVY = ("asyncio", "collections", "contextlib", "functools", "inspect", "json", "pickle", "re",
         "runpy", "socket", "threading", "typing", "warnings")

@app.function()
def f():
    return [name for name in HEAVY if name in sys.modules]
"""

SLEEPER = """
import pathlib, time

@app.function()
def f(seconds=0, mark=None):
    try:
        if mark:
            pathlib.Path(mark).touch()
        time.sleep(seconds)
        while seconds:
            print("still here")
    except ember.InputCancelled:
        print("cleaning up")
        raise
    return "slept"
"""


def test_has_imported_nothing_that_takes_long(runner: RunnerProcess) -> None:
    # What this environment's own .pth files import is not the runner's.
    plain = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    imported = set(runner.start(HEAVY).ready().call({}).json)
    assert imported <= set(plain.stdout.split())


def test_cancel_interrupts_user_code(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start(SLEEPER).ready()
    runner.input(1, {"seconds": 60, "mark": str(tmp_path / "mark")})
    wait_for_file(tmp_path / "mark")
    runner.cancel(1)
    got = runner.answer(1)
    assert (got.kind, got.json["kind"], got.json["status"]) == (frames.ERROR, "cancelled", 499)
    assert (1, 1, "cleaning up\n") in runner.logs()
    assert runner.call({}).json == "slept"


def test_cancel_in_the_middle_of_printing_keeps_frames_whole(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start(SLEEPER).ready()
    for i in range(1, 21):
        runner.input(i, {"seconds": 1e-6, "mark": str(tmp_path / f"mark{i}")})
        wait_for_file(tmp_path / f"mark{i}")
        runner.cancel(i)
        assert runner.answer(i).json["kind"] == "cancelled"
        runner.set_aside.clear()


def test_cancel_of_another_input_or_attempt_does_not_interrupt(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start(SLEEPER).ready()
    runner.send(
        input_frame(1, {"mark": str(tmp_path / "mark"), "seconds": 0}, attempt=2)
        + input_frame(2, {})
        + input_frame(3, {})
    )
    runner.cancel(1, attempt=1)
    runner.cancel(9)
    assert [runner.answer(i).json for i in (1, 2, 3)] == ["slept"] * 3


def test_cancel_of_an_input_that_waits_keeps_it_from_running(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start("""
    import pathlib, time

    @app.function()
    def f(mark, until=None):
        pathlib.Path(mark).touch()
        while until and not pathlib.Path(until).exists():
            time.sleep(0.005)
    """).ready()
    first, second, go = (str(tmp_path / name) for name in ("first", "second", "go"))
    runner.send(input_frame(1, {"mark": first, "until": go}) + input_frame(2, {"mark": second}))
    wait_for_file(Path(first))
    runner.cancel(2)
    # A second signal is handled only after the first: the Cancel has been seen once it has been.
    runner.input(3, {"mark": first})
    Path(go).touch()
    assert runner.answer(1).json is None
    assert runner.answer(2).json["kind"] == "cancelled"
    assert runner.answer(3).json is None
    assert not os.path.exists(second)


def test_stop_and_sigterm_end_with_status_0(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert runner.wait() == 0


def test_sigterm_when_idle_ends_with_status_0(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.call({})
    assert runner.process is not None
    runner.process.terminate()
    assert runner.wait() == 0


def test_sigterm_lets_the_running_input_finish(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start(SLEEPER.replace("while seconds:", "while False:")).ready()
    runner.input(1, {"seconds": 0.3, "mark": str(tmp_path / "mark")})
    wait_for_file(tmp_path / "mark")
    assert runner.process is not None
    runner.process.terminate()
    assert runner.answer(1).json == "slept"
    assert runner.wait() == 0


def test_the_exit_path_runs_atexit_hooks(runner: RunnerProcess, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    runner.start(
        f"import atexit, pathlib\natexit.register(pathlib.Path({str(mark)!r}).touch)" + ECHO
    )
    runner.ready()
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert runner.wait() == 0
    assert mark.exists()


def test_a_frame_that_is_not_the_protocol_ends_with_status_71(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.send(frames.frame(99, 0, 0, 0, b""))
    assert runner.wait() == 71


def test_ping_is_answered(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    assert runner.expect(frames.PONG).body == b""


def test_a_lost_server_is_met_again(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.call({})
    runner.drop()
    hello = runner.accept()
    assert (hello.json["state"], hello.json["busy"]) == ("ready", [])
    runner.ready()
    assert runner.call({"a": 1}).json == {"a": 1}


def test_a_result_for_a_lost_server_is_dropped(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start(SLEEPER.replace("while seconds:", "while False:")).ready()
    runner.input(1, {"seconds": 0.2, "mark": str(tmp_path / "mark")})
    wait_for_file(tmp_path / "mark")
    runner.drop()
    runner.accept()
    assert runner.read().kind == frames.READY
    assert runner.call({}).json == "slept"


def test_an_import_that_fails_ends_with_status_70(runner: RunnerProcess) -> None:
    runner.start("def broken():\n    raise RuntimeError('boom')\nprint('hi')\nbroken()")
    report = runner.expect(frames.FAILED).json
    assert (report["kind"], report["type"], report["message"]) == (
        "load_failed",
        "RuntimeError",
        "boom",
    )
    assert "user_code.py" in report["traceback"].splitlines()[1]
    assert "importlib" not in report["traceback"]
    assert runner.logs() == [(1, 0, "hi\n")]
    assert runner.wait() == 70


@pytest.mark.parametrize(
    ("module", "function"), [(ECHO, "g"), ("def f(): pass", "f"), ("def f(:", "f")]
)
def test_a_function_that_is_not_there_ends_with_status_70(
    runner: RunnerProcess, module: str, function: str
) -> None:
    runner.start(module, function)
    assert runner.expect(frames.FAILED).json["kind"] == "load_failed"
    assert runner.wait() == 70


def test_a_crash_ends_the_process_and_leaves_a_traceback(runner: RunnerProcess) -> None:
    runner.start("""
    import ctypes

    @app.function()
    def f():
        ctypes.string_at(0)
    """).ready()
    runner.input(1)
    assert runner.wait() == -signal.SIGSEGV
    assert runner.process is not None
    assert runner.process.stderr is not None
    assert b"Segmentation fault" in runner.process.stderr.read()


def test_exiting_at_once_ends_the_process(runner: RunnerProcess) -> None:
    runner.start("""
    import os

    @app.function()
    def f():
        os._exit(5)
    """).ready()
    runner.input(1)
    assert runner.wait() == 5
