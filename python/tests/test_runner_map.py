"""Maps from within a container: a window of calls over the runner's socket."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from conftest import Got, RunnerProcess

from ember.runner import _frames as frames

WINDOW = 64
MODULE = """
import itertools
other = ember.Function.from_name("elsewhere", "double")

@app.function()
def f(count):
    return list(other.map(range(count)))

@app.function()
def of_a_variant(count):
    return list(other.with_options(timeout=30).map(range(count)))

@app.function()
async def from_async(count):
    return [value async for value in other.map.aio(range(count))]

@app.function()
async def blocking_in_async(count):
    return list(other.map(range(count)))

@app.function()
def breaks_off(count):
    for value in other.map(itertools.count(), order_outputs=False):
        return value

@app.function()
async def breaks_off_async(count):
    async for value in other.map.aio(itertools.count(), order_outputs=False):
        return value

@app.function()
def inputs_raise(count):
    def inputs():
        yield from range(count)
        raise LookupError("no more")
    try:
        return list(other.map(inputs()))
    except LookupError as error:
        return str(error)

@app.function()
def cancelled(count):
    return list(other.map(itertools.count()))
"""
TASKS = {"is_async": True, "max_inputs": 8}
THREADS = {"max_inputs": 8}
EVERY_WAY = pytest.mark.parametrize(
    ("function", "settings"),
    [("f", {}), ("f", THREADS), ("from_async", TASKS), ("blocking_in_async", TASKS)],
    ids=["sync", "threads", "async", "blocking-in-async"],
)


def call_of(got: Got) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(got.body[:2], "little")
    (number,), _ = pickle.loads(got.body[2 + size :])
    return json.loads(got.body[2 : 2 + size]), number


def answer(runner: RunnerProcess, got: Got) -> None:
    body = pickle.dumps(2 * call_of(got)[1])
    runner.send(frames.frame(frames.CALL_RESULT, frames.PICKLE, 0, got.stream, body))


def withdrawn(runner: RunnerProcess, count: int) -> set[int]:
    """The calls that the next frames which do so withdraw, as many as are said."""
    gone: set[int] = set()
    while len(gone) < count:
        got = runner.expect(frames.CALL, frames.CALL_CANCEL)
        if got.kind == frames.CALL_CANCEL:
            gone.add(got.stream)
    return gone


def next_call(runner: RunnerProcess) -> Got:
    """The next one; pings are answered, as the server does."""
    while True:
        got = runner.expect(frames.CALL, frames.PING)
        if got.kind == frames.CALL:
            return got
        runner.send(frames.frame(frames.PONG, frames.NONE, 0, 0, b""))


def result(runner: RunnerProcess) -> Any:
    while True:
        got = runner.expect(frames.RESULT, frames.ERROR, frames.PING)
        if got.kind != frames.PING:
            return got.json
        runner.send(frames.frame(frames.PONG, frames.NONE, 0, 0, b""))


@EVERY_WAY
def test_a_window_of_calls_is_under_way_at_once(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"count": 2 * WINDOW})
    calls = [next_call(runner) for _ in range(WINDOW)]
    head, number = call_of(calls[0])
    assert head == {"app": "elsewhere", "function": "double", "call": "fc-0000000000007"}
    assert number == 0
    for got in reversed(calls):
        answer(runner, got)
    for _ in range(WINDOW):
        answer(runner, next_call(runner))
    assert result(runner) == [2 * number for number in range(2 * WINDOW)]


def test_a_variant_that_went_with_its_version_is_made_again(runner: RunnerProcess) -> None:
    def make_variant(name: str) -> None:
        asked = runner.expect(frames.VARIANT)
        assert asked.json["options"] == {"timeout_ms": 30_000}
        body = json.dumps({"variant": name}).encode()
        runner.send(frames.frame(frames.CALL_RESULT, frames.JSON, 0, asked.stream, body))

    runner.start(MODULE, "of_a_variant").ready()
    runner.input(1, {"count": 2})
    make_variant("va-1")
    first, second = next_call(runner), next_call(runner)
    assert call_of(first)[0]["variant"] == "va-1"
    answer(runner, first)
    gone = {
        "kind": "unknown_variant", "type": "EmberError", "message": "gone", "traceback": "",
        "pickle": None,
    }  # fmt: skip
    body = json.dumps(gone).encode()
    runner.send(frames.frame(frames.CALL_ERROR, frames.JSON, 0, second.stream, body))
    make_variant("va-2")
    again = next_call(runner)
    assert call_of(again)[0]["variant"] == "va-2"
    assert call_of(again)[1] == call_of(second)[1]
    answer(runner, again)
    assert result(runner) == [0, 2]


@EVERY_WAY
def test_no_inputs_are_no_calls(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"count": 0})
    assert result(runner) == []
    assert not any(got.kind == frames.CALL for got in runner.set_aside)


@EVERY_WAY
def test_a_call_that_finds_the_queue_full_is_made_again(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"count": 3})
    calls = [next_call(runner) for _ in range(3)]
    full = {
        "kind": "resource_exhausted", "type": "EmberError", "message": "full", "traceback": "",
        "pickle": None, "limit": {"name": "queue_limit", "value": 2},
    }  # fmt: skip
    for got in calls[:2]:
        body = json.dumps(full).encode()
        runner.send(frames.frame(frames.CALL_ERROR, frames.JSON, 0, got.stream, body))
    answer(runner, calls[2])
    again = [next_call(runner) for _ in range(2)]
    assert {call_of(got)[1] for got in again} == {0, 1}
    for got in again:
        answer(runner, got)
    assert result(runner) == [0, 2, 4]


@pytest.mark.parametrize(
    ("function", "settings"),
    [("breaks_off", {}), ("breaks_off", THREADS), ("breaks_off_async", TASKS)],
    ids=["sync", "threads", "async"],
)
def test_a_loop_that_is_left_withdraws_the_calls(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, function, **settings).ready()
    runner.input(1, {"count": 0})
    calls = [next_call(runner) for _ in range(WINDOW)]
    answer(runner, calls[0])
    gone = withdrawn(runner, WINDOW - 1)
    assert {got.stream for got in calls[1:]} <= gone
    assert calls[0].stream not in gone
    assert runner.answer(1).json == 0


@pytest.mark.parametrize("settings", [{}, THREADS], ids=["sync", "threads"])
@pytest.mark.parametrize("count", [0, 3])
def test_inputs_that_raise_end_the_map_though_no_answer_comes(
    runner: RunnerProcess, settings: dict[str, Any], count: int
) -> None:
    runner.start(MODULE, "inputs_raise", **settings).ready()
    runner.input(1, {"count": count})
    calls = [next_call(runner) for _ in range(count)]
    assert result(runner) == "no more"
    assert len(calls) == count


@pytest.mark.parametrize("settings", [{}, THREADS], ids=["sync", "threads"])
def test_a_call_that_is_cancelled_withdraws_its_map(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, "cancelled", **settings).ready()
    runner.input(1, {"count": 0})
    calls = [next_call(runner) for _ in range(WINDOW)]
    runner.cancel(1)
    assert withdrawn(runner, WINDOW) == {got.stream for got in calls}
    assert runner.answer(1).json["kind"] == "cancelled"
