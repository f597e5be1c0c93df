"""A runner that runs several inputs at once: async functions on a loop, sync ones on threads."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import RunnerProcess, input_frame, wait_for_file

from ember.runner import _frames as frames

ASYNC_ECHO = """
@app.function()
async def f(**kwargs):
    return kwargs
"""
# An input with `wait` runs until another has made its file; `made` is made first.
MEET = """
import asyncio, pathlib, time

@app.function()
async def f(made=None, wait=None):
    if made:
        pathlib.Path(made).touch()
    try:
        while wait and not pathlib.Path(wait).exists():
            print("waiting for", wait)
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        print("cleaning up")
        raise
    return made
"""
MEET_ON_THREADS = (
    MEET.replace("async def", "def")
    .replace("await asyncio", "time")
    .replace("asyncio.CancelledError", "ember.InputCancelled")
)
TASKS = {"is_async": True, "max_inputs": 8}
THREADS = {"max_inputs": 8}
BOTH = pytest.mark.parametrize(
    ("module", "settings"), [(MEET, TASKS), (MEET_ON_THREADS, THREADS)], ids=["tasks", "threads"]
)


def test_pipelined_async_inputs_are_all_answered(runner: RunnerProcess) -> None:
    runner.start(ASYNC_ECHO, **TASKS).ready()
    runner.send(b"".join(input_frame(i, {"i": i}, attempt=2) for i in range(1, 101)))
    for i in range(1, 101):
        got = runner.answer(i)
        assert (got.kind, got.attempt, got.json) == (frames.RESULT, 2, {"i": i})


@BOTH
def test_an_input_that_waits_does_not_hold_up_those_behind_it(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    files = [str(tmp_path / f"file{i}") for i in range(8)]
    # Each waits for the file that the next one makes; only the last waits for none.
    runner.send(
        b"".join(
            input_frame(i + 1, {"made": files[i], "wait": files[i + 1] if i < 7 else None})
            for i in range(8)
        )
    )
    for i in range(8):
        assert runner.answer(i + 1).json == files[i]


@BOTH
def test_cancel_ends_one_input_and_not_its_neighbours(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    go, mark = str(tmp_path / "go"), str(tmp_path / "mark")
    runner.send(
        input_frame(1, {"wait": go})
        + input_frame(2, {"wait": go, "made": mark})
        + input_frame(3, {"wait": go})
    )
    wait_for_file(Path(mark))
    runner.cancel(2)
    got = runner.answer(2)
    assert (got.json["kind"], got.json["status"]) == ("cancelled", 499)
    runner.cancel(3, attempt=9)
    Path(go).touch()
    assert runner.answer(1).json is None
    assert runner.answer(3).json is None
    assert (1, 2, "cleaning up\n") in runner.logs()
    assert not any("cleaning" in text for _, stream, text in runner.logs() if stream != 2)


@BOTH
def test_cancel_again_and_again_keeps_the_runner_whole(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    for i in range(1, 21):
        mark = tmp_path / f"mark{i}"
        runner.input(i, {"made": str(mark), "wait": str(tmp_path / "never")})
        wait_for_file(mark)
        runner.cancel(i)
        assert runner.answer(i).json["kind"] == "cancelled"
    assert runner.call({"made": str(tmp_path / "last")}).kind == frames.RESULT


@BOTH
def test_output_names_the_input_that_printed_it(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    runner.send(input_frame(1, {"wait": first}) + input_frame(2, {"wait": second, "made": first}))
    runner.answer(1)
    wait_for_file(Path(first))
    Path(second).touch()
    runner.answer(2)
    for _, stream, text in runner.logs():
        assert text == f"waiting for {first if stream == 1 else second}\n"


@BOTH
def test_a_lost_connection_lets_inputs_finish_unanswered(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    go, mark = tmp_path / "go", tmp_path / "mark"
    runner.input(41, {"wait": str(go), "made": str(mark)})
    wait_for_file(mark)
    runner.drop()
    assert runner.accept().json["busy"] == [41]
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    assert runner.expect(frames.PONG)
    go.touch()
    assert runner.expect(frames.READY, frames.RESULT).kind == frames.READY
    assert runner.call({"made": str(tmp_path / "x")}).kind == frames.RESULT


@BOTH
def test_stop_lets_what_runs_finish(
    runner: RunnerProcess, tmp_path: Path, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    go, mark = tmp_path / "go", tmp_path / "mark"
    runner.input(1, {"wait": str(go), "made": str(mark)})
    wait_for_file(mark)
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    go.touch()
    assert runner.answer(1).json == str(mark)
    assert runner.wait() == 0


@BOTH
def test_sigterm_when_idle_ends_with_status_0(
    runner: RunnerProcess, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    runner.call({})
    assert runner.process is not None
    runner.process.terminate()
    assert runner.wait() == 0


@BOTH
def test_arguments_that_do_not_fit_are_refused(
    runner: RunnerProcess, module: str, settings: dict[str, Any]
) -> None:
    runner.start(module, **settings).ready()
    assert runner.call({"x": 1}).json["status"] == 400
    assert runner.call({}).json is None


@pytest.mark.parametrize("settings", [TASKS, THREADS], ids=["tasks", "threads"])
def test_exceptions_and_exits_are_errors(runner: RunnerProcess, settings: dict[str, Any]) -> None:
    word = "async " if settings.get("is_async") else ""
    runner.start(
        f"""
    import asyncio, sys

    @app.function()
    {word}def f(how):
        if how == "raise":
            raise ValueError("no")
        if how == "exit":
            sys.exit(3)
        if how == "cancel":
            raise asyncio.CancelledError
        return object()
    """,
        **settings,
    ).ready()
    report = runner.call({"how": "raise"}).json
    assert (report["kind"], report["type"]) == ("user_exception", "ValueError")
    assert "user_code.py" in report["traceback"].splitlines()[1]
    assert "ember/runner" not in report["traceback"]
    assert runner.call({"how": "exit"}).json["type"] == "SystemExit"
    assert runner.call({"how": "cancel"}).json["kind"] == "user_exception"
    assert runner.call({"how": ""}).json["kind"] == "result_not_serializable"


# Exceptions that cannot be told as they are.
UNTELLABLE = """
import asyncio

class BadText(Exception):
    def __str__(self):
        raise SystemExit(9)

class BadPickle(Exception):
    def __reduce__(self):
        raise KeyboardInterrupt

@app.function()
def sync(which):
    raise {"text": BadText(), "pickle": BadPickle("no"), "half": ValueError("\\ud800")}[which]

@app.function()
async def at_once(which):
    sync.local(which)

@app.function()
async def later(which):
    await asyncio.sleep(0)
    sync.local(which)
"""


@pytest.mark.parametrize(
    ("function", "settings"),
    [("sync", {}), ("sync", THREADS), ("at_once", TASKS), ("later", TASKS)],
    ids=["sync", "threads", "at-once", "later"],
)
def test_an_exception_that_cannot_be_told_is_an_error_like_others(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(UNTELLABLE, function, **settings).ready()
    for which, kind in (("text", "BadText"), ("pickle", "BadPickle"), ("half", "ValueError")):
        got = runner.call({"which": which})
        assert (got.json["kind"], got.json["type"]) == ("user_exception", kind)
    runner.send(input_frame(7, {"\\ud800": 1}))
    assert runner.answer(7).json["kind"] == "bad_arguments"


def test_big_answers_wait_for_a_slow_reader(runner: RunnerProcess) -> None:
    runner.start(
        """
    @app.function()
    async def f(n):
        return "x" * n
    """,
        **TASKS,
    ).ready()
    runner.send(b"".join(input_frame(i, {"n": 3_000_000}) for i in range(1, 9)))
    for i in range(1, 9):
        assert len(runner.answer(i).json) == 3_000_000


@pytest.mark.parametrize("settings", [{}, TASKS, THREADS], ids=["one", "tasks", "threads"])
def test_pools_of_forked_processes_work_and_end(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    word = "async " if settings.get("is_async") else ""
    runner.start(
        f"""
    import multiprocessing

    def double(n):
        return 2 * n

    @app.function()
    {word}def f():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(double, [1, 2])
    """,
        **settings,
    ).ready()
    assert runner.call().json == [2, 4]
    assert runner.call().json == [2, 4]


@pytest.mark.parametrize("settings", [{}, TASKS, THREADS], ids=["one", "tasks", "threads"])
def test_a_signal_that_meets_a_child_at_its_birth_ends_it(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    word = "async " if settings.get("is_async") else ""
    # What a module registers at its import runs before what the runner registers later.
    runner.start(
        f"""
    import os, signal

    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))

    @app.function()
    {word}def f():
        child = os.fork()
        if child == 0:
            os._exit(0)
        return os.WTERMSIG(os.waitpid(child, 0)[1])
    """,
        **settings,
    ).ready()
    assert runner.call().json == int(signal.SIGTERM)
