"""Calls of other functions from within a container, over the runner's socket."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Got, RunnerProcess, input_frame, wait_for_file

from ember.runner import _frames as frames
from ember.runner._streams import WINDOW_ITEMS

TASKS = {"is_async": True, "max_inputs": 8}
THREADS = {"max_inputs": 8}
MODULE = """
import asyncio, pathlib, threading
other = ember.Function.from_name("elsewhere", "double")

@app.function()
def f(n, mark=None):
    try:
        return other.remote(n, by=2)
    except ember.InputCancelled:
        pathlib.Path(mark).touch()
        raise

@app.function()
async def from_async(n):
    return await other.remote.aio(n, by=2)

@app.function()
async def blocking_in_async(n):
    return other.remote(n, by=2)

@app.function()
def own_loop(n):
    async def both():
        return await asyncio.gather(other.remote.aio(n, by=2), other.remote.aio(n + 1, by=2))
    return asyncio.run(both())

@app.function()
def own_threads(n):
    results = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(other.remote(n + i, by=2)))
        for i in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results)

@app.function()
def items(n, at_most=None):
    taken = []
    for item in other.remote_gen(n):
        taken.append(item)
        if len(taken) == at_most:
            break
    return taken

@app.function()
async def items_async(n, at_most=None):
    taken = []
    items = other.remote_gen.aio(n)
    async for item in items:
        taken.append(item)
        if len(taken) == at_most:
            break
    await items.aclose()
    return taken

@app.function()
def items_in_own_loop(n, at_most=None):
    return asyncio.run(items_async.local(n, at_most))

@app.function()
def leaves_a_thread(n, mark=None):
    if mark:
        def wait():
            pathlib.Path(mark).write_text(str(other.remote(n, by=2)))
        threading.Thread(target=wait, daemon=True).start()
    return "left"
"""
ITEM_WAYS = pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("items", {}),
        ("items", THREADS),
        ("items_async", TASKS),
        ("items_in_own_loop", {}),
    ],
    ids=["sync", "threads", "async", "own-loop"],
)
EVERY_WAY = pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("f", {}),
        ("f", THREADS),
        ("from_async", TASKS),
        ("blocking_in_async", TASKS),
    ],
    ids=["sync", "threads", "async", "blocking-in-async"],
)


def read_call(got: Got) -> tuple[dict[str, str], Any, Any]:
    size = int.from_bytes(got.body[:2], "little")
    args, kwargs = pickle.loads(got.body[2 + size :])
    return json.loads(got.body[2 : 2 + size]), args, kwargs


def call_result(number: int, value: object) -> bytes:
    return frames.frame(frames.CALL_RESULT, frames.PICKLE, 0, number, pickle.dumps(value))


@EVERY_WAY
def test_a_call_goes_over_the_socket_and_its_result_comes_back(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    got = runner.expect(frames.CALL)
    assert got.format == frames.PICKLE
    target = {
        "app": "elsewhere",
        "function": "double",
        "call": "fc-0000000000007",
    }
    assert read_call(got) == (target, (4,), {"by": 2})
    runner.send(call_result(got.stream, 8))
    assert runner.answer(1).json == 8


@EVERY_WAY
def test_an_input_that_comes_meanwhile_runs_afterwards_or_beside(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    first = runner.expect(frames.CALL)
    runner.send(input_frame(2, {"n": 5}) + call_result(first.stream, 8))
    second = runner.expect(frames.CALL)
    runner.send(call_result(second.stream, 10))
    assert runner.answer(1).json == 8
    assert runner.answer(2).json == 10


def report(kind: str, message: str, **fields: object) -> bytes:
    """The body of a CallError frame, in the form of src/control/error_body.cc."""
    full = {"kind": kind, "type": "EmberError", "message": message, "traceback": "", "pickle": None}
    return json.dumps({**full, "status": None, **fields}).encode()


FAILURES = {
    "NotFoundError: no app": report("not_found", "no app"),
    "FunctionTimeoutError: over 1 s": report("timed_out", "over 1 s"),
    "ContainerCrashedError: status 4": report("container_crashed", "status 4"),
    "ResourceExhaustedError: full": report("resource_exhausted", "full"),
    "InvalidArgumentError: missing": report("bad_arguments", "missing"),
    "KeyError: 'k'": report(
        "user_exception", "'k'", type="KeyError", traceback="Traceback: inner.py",
        pickle=base64.b64encode(pickle.dumps(KeyError("k"))).decode(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "body"), FAILURES.items(), ids=[t.split(":")[0] for t in FAILURES]
)
def test_an_error_of_the_other_function_is_raised_with_its_type(
    runner: RunnerProcess, told: str, body: bytes
) -> None:
    runner.start(MODULE, "from_async", **TASKS).ready()
    runner.input(1, {"n": 4})
    got = runner.expect(frames.CALL)
    runner.send(frames.frame(frames.CALL_ERROR, frames.JSON, 0, got.stream, body))
    answer = runner.answer(1).json
    assert f"{answer['type']}: {answer['message']}" == told
    assert ("inner.py" in answer["traceback"]) == (b"inner.py" in body)


@pytest.mark.parametrize("settings", [{}, THREADS], ids=["sync", "threads"])
def test_cancel_interrupts_a_waiting_call(
    runner: RunnerProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, **settings).ready()
    for stream in range(1, 6):
        mark = tmp_path / f"mark{stream}"
        runner.input(stream, {"n": 4, "mark": str(mark)})
        got = runner.expect(frames.CALL)
        runner.cancel(stream)
        assert runner.answer(stream).json["kind"] == "cancelled"
        assert mark.exists()
        runner.send(call_result(got.stream, 8))  # too late: nobody waits for it
    runner.input(9, {"n": 1})
    runner.send(call_result(runner.expect(frames.CALL).stream, 2))
    assert runner.answer(9).json == 2


@pytest.mark.parametrize("settings", [{}, THREADS], ids=["sync", "threads"])
def test_calls_from_a_loop_of_the_users_own(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, "own_loop", **settings).ready()
    runner.input(1, {"n": 1})
    calls = [runner.expect(frames.CALL) for _ in range(2)]
    for got in reversed(calls):
        runner.send(call_result(got.stream, 2 * read_call(got)[1][0]))
    assert runner.answer(1).json == [2, 4]


@pytest.mark.parametrize("settings", [{}, THREADS], ids=["sync", "threads"])
def test_calls_from_threads_are_answered_in_any_order(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, "own_threads", **settings).ready()
    for stream in range(1, 11):
        runner.input(stream, {"n": stream})
        calls = [runner.expect(frames.CALL) for _ in range(5)]
        for got in calls[3:] + calls[:3]:
            runner.send(call_result(got.stream, 2 * read_call(got)[1][0]))
        assert runner.answer(stream).json == [2 * (stream + i) for i in range(5)]


def test_a_thread_that_is_left_waiting_does_not_hold_up_the_next_input(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start(MODULE, "leaves_a_thread").ready()
    mark = tmp_path / "mark"
    runner.input(1, {"n": 3, "mark": str(mark)})
    got = runner.expect(frames.CALL)
    assert runner.answer(1).json == "left"
    for stream in range(2, 6):
        runner.input(stream, {"n": 0})
        assert runner.answer(stream).json == "left"
    runner.send(call_result(got.stream, 6))
    wait_for_file(mark)
    runner.input(7, {"n": 0})
    assert runner.answer(7).json == "left"


@EVERY_WAY
def test_a_lost_server_fails_the_call_clearly(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    runner.expect(frames.CALL)
    runner.drop()
    runner.accept()
    runner.ready()
    runner.input(2, {"n": 1})
    runner.send(call_result(runner.expect(frames.CALL).stream, 2))
    assert runner.answer(2).json == 2


def test_a_call_while_the_module_is_imported_is_refused(runner: RunnerProcess) -> None:
    runner.start("ember.Function.from_name('a', 'b').remote()" + MODULE)
    report = runner.expect(frames.FAILED).json
    assert report["type"] == "UnavailableError"
    assert "while the module is being imported" in report["message"]


def call_chunk(number: int, value: object) -> bytes:
    return frames.frame(frames.CALL_CHUNK, frames.PICKLE, 0, number, pickle.dumps(value))


def call_end(number: int) -> bytes:
    return frames.frame(frames.CALL_RESULT, frames.NONE, 0, number, b"")


@ITEM_WAYS
def test_items_of_another_function_come_as_they_are_sent(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    got = runner.expect(frames.CALL)
    assert read_call(got)[0]["stream"] is True
    runner.send(call_chunk(got.stream, "a") + call_chunk(got.stream, "b"))
    runner.send(call_chunk(got.stream, "c") + call_end(got.stream))
    assert runner.answer(1).json == ["a", "b", "c"]


@ITEM_WAYS
def test_credit_is_given_for_items_that_user_code_has_taken(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    number = runner.expect(frames.CALL).stream
    chunk = call_chunk(number, "x")
    size = len(chunk) - frames.HEADER_BYTES
    for _ in range(WINDOW_ITEMS // 2):
        runner.send(chunk)
    credit = runner.expect(frames.CREDIT)
    assert credit.stream == number
    half = WINDOW_ITEMS // 2
    assert frames.CREDIT_BODY.unpack(credit.body) == (half, half * size)
    runner.send(call_end(number))
    assert runner.answer(1).json == ["x"] * half


@ITEM_WAYS
def test_leaving_the_loop_early_cancels_the_call(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4, "at_most": 1})
    number = runner.expect(frames.CALL).stream
    runner.send(call_chunk(number, "x"))
    assert runner.expect(frames.CALL_CANCEL).stream == number
    assert runner.answer(1).json == ["x"]


@ITEM_WAYS
def test_an_error_after_items_is_raised_where_they_are_taken(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"n": 4})
    number = runner.expect(frames.CALL).stream
    body = report("container_crashed", "the stream broke after 1 item")
    error = frames.frame(frames.CALL_ERROR, frames.JSON, 0, number, body)
    runner.send(call_chunk(number, "x") + error)
    assert runner.answer(1).json["type"] == "ContainerCrashedError"
