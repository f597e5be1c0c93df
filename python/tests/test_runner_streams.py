"""Generators in the runner: items leave as they are yielded, and no further ahead than credit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Got, RunnerProcess, wait_for_file

from ember.runner import _frames as frames
from ember.runner._streams import WINDOW_BYTES, WINDOW_ITEMS

MODULE = """
import asyncio, pathlib, time

@app.function()
def sync(n, size=0, mark=None, fail_at=None):
    try:
        for i in range(n):
            if i == fail_at:
                raise ValueError("no more")
            if mark:
                pathlib.Path(mark + ".made").write_text(str(i + 1))
            yield "x" * size if size else i
    except ember.InputCancelled:
        if mark:
            pathlib.Path(mark + ".cancelled").touch()
        raise
    finally:
        if mark:
            pathlib.Path(mark + ".finally").touch()

@app.function()
async def tasks(n, size=0, mark=None, fail_at=None):
    try:
        for i in range(n):
            if i == fail_at:
                raise ValueError("no more")
            if mark:
                pathlib.Path(mark + ".made").write_text(str(i + 1))
            yield "x" * size if size else i
    except asyncio.CancelledError:
        if mark:
            pathlib.Path(mark + ".cancelled").touch()
        raise
    finally:
        await asyncio.sleep(0)
        if mark:
            pathlib.Path(mark + ".finally").touch()

@app.function()
def gated(gate, mark=None):
    yield "before"
    while not pathlib.Path(gate).exists():
        time.sleep(0.001)
    yield "after"

@app.function()
async def gated_tasks(gate, mark=None):
    yield "before"
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.001)
    yield "after"

@app.function()
def busy(mark):
    try:
        yield 1
        while True:
            pass
    finally:
        pathlib.Path(mark + ".finally").touch()

@app.function()
def unpicklable():
    try:
        yield 1
        yield (i for i in ())
    finally:
        print("cleaned up")

@app.cls()
class Model:
    @ember.enter()
    def load(self):
        self.loaded = "loaded"

    @ember.method()
    def words(self, n):
        for i in range(n):
            yield f"{self.loaded} {i}"

    @ember.method()
    def count(self):
        return 2

@app.cls()
class AsyncModel:
    @ember.enter()
    async def load(self):
        self.loaded = "loaded"

    @ember.method()
    async def words(self, n):
        for i in range(n):
            await asyncio.sleep(0)
            yield f"{self.loaded} {i}"

    @ember.method()
    def count(self):
        return 2

@app.function()
def tells_its_call(n):
    for _ in range(n):
        yield ember.current_input_id()

@app.function()
def stubborn(mark):
    while True:
        try:
            yield 1
        except ember.InputCancelled:
            pathlib.Path(mark + ".ignored").touch()
"""
MODES: list[tuple[str, dict[str, Any]]] = [
    ("sync", {}),
    ("sync", {"max_inputs": 8}),
    ("tasks", {"is_async": True, "max_inputs": 8}),
]
IDS = ["sync", "threads", "tasks"]
each_mode = pytest.mark.parametrize("function,settings", MODES, ids=IDS)
gated_modes = pytest.mark.parametrize(
    "function,settings",
    [("gated", {}), ("gated", {"max_inputs": 8}), ("gated_tasks", MODES[2][1])],
    ids=IDS,
)


def start(runner: RunnerProcess, function: str, **settings: Any) -> RunnerProcess:
    return runner.start(MODULE, function, **settings).ready()


def next_of(runner: RunnerProcess) -> Got:
    return runner.expect(frames.CHUNK, frames.RESULT, frames.ERROR)


def items_of(runner: RunnerProcess) -> tuple[list[Any], Got]:
    items = []
    while (got := next_of(runner)).kind == frames.CHUNK:
        items.append(got.value)
    return items, got


def give(runner: RunnerProcess, items: int, size: int, stream: int = 1) -> None:
    body = frames.CREDIT_BODY.pack(items, size)
    runner.send(frames.frame(frames.CREDIT, 0, 1, stream, body))


@each_mode
def test_items_come_in_order_in_the_format_of_the_input_and_then_an_empty_result(
    runner: RunnerProcess, function: str, settings: dict[str, Any]
) -> None:
    start(runner, function, **settings)
    runner.input(1, {"n": 3})
    items, end = items_of(runner)
    assert items == [0, 1, 2]
    assert (end.kind, end.format, end.body) == (frames.RESULT, frames.NONE, b"")
    runner.input(2, args=(2,))
    first = next_of(runner)
    assert (first.format, first.stream, pickle.loads(first.body)) == (frames.PICKLE, 2, 0)
    assert items_of(runner)[0] == [1]
    runner.input(3, {"n": 0})
    assert items_of(runner)[0] == []


@gated_modes
def test_each_item_leaves_before_the_next_is_made(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    gate = tmp_path / "gate"
    start(runner, function, **settings)
    runner.input(1, {"gate": str(gate)})
    assert next_of(runner).value == "before"
    gate.touch()
    assert items_of(runner)[0] == ["after"]


@each_mode
def test_a_generator_is_not_advanced_beyond_the_window_of_items(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, function, **settings)
    runner.input(1, {"n": WINDOW_ITEMS + 10, "mark": mark})
    for i in range(WINDOW_ITEMS):
        assert next_of(runner).value == i
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    made = Path(mark + ".made")
    assert runner.expect(frames.CHUNK, frames.PONG).kind == frames.PONG
    assert made.read_text() == str(WINDOW_ITEMS)
    give(runner, 1, 1)
    assert next_of(runner).value == WINDOW_ITEMS
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    assert runner.expect(frames.CHUNK, frames.PONG).kind == frames.PONG
    assert made.read_text() == str(WINDOW_ITEMS + 1)
    give(runner, 100, 100)
    items, end = items_of(runner)
    assert items == list(range(WINDOW_ITEMS + 1, WINDOW_ITEMS + 10))
    assert end.kind == frames.RESULT


@each_mode
def test_a_generator_is_not_advanced_beyond_the_window_of_bytes(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    size = WINDOW_BYTES // 2
    start(runner, function, **settings)
    runner.input(1, {"n": 5, "size": size, "mark": mark})
    next_of(runner)
    next_of(runner)
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    assert runner.expect(frames.CHUNK, frames.PONG).kind == frames.PONG
    assert Path(mark + ".made").read_text() == "2"
    give(runner, 1, 6 * size)
    assert len(items_of(runner)[0]) == 3


@each_mode
def test_an_error_in_the_middle_comes_after_the_items_before_it(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, function, **settings)
    runner.input(1, {"n": 9, "fail_at": 2, "mark": mark})
    items, end = items_of(runner)
    assert items == [0, 1]
    assert (end.kind, end.json["type"], end.json["message"]) == (
        frames.ERROR,
        "ValueError",
        "no more",
    )
    assert Path(mark + ".finally").exists()
    runner.input(2, {"n": 1})
    assert items_of(runner)[0] == [0]


@each_mode
def test_a_cancelled_generator_that_waits_for_credit_cleans_up_at_its_yield(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, function, **settings)
    runner.input(1, {"n": 1000, "mark": mark})
    for _ in range(WINDOW_ITEMS):
        next_of(runner)
    runner.cancel(1)
    items, end = items_of(runner)
    assert items == []
    assert (end.kind, end.json["kind"]) == (frames.ERROR, "cancelled")
    assert Path(mark + ".cancelled").exists()
    assert Path(mark + ".finally").exists()
    assert Path(mark + ".made").read_text() == str(WINDOW_ITEMS)
    runner.input(2, {"n": 2})
    assert items_of(runner)[0] == [0, 1]


@pytest.mark.parametrize("settings", [{}, {"max_inputs": 8}], ids=["sync", "threads"])
def test_a_busy_generator_is_interrupted(
    runner: RunnerProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, "busy", **settings)
    runner.input(1, {"mark": mark})
    assert next_of(runner).value == 1
    runner.cancel(1)
    assert items_of(runner)[1].json["kind"] == "cancelled"
    assert Path(mark + ".finally").exists()


@pytest.mark.parametrize("settings", [{}, {"max_inputs": 8}], ids=["sync", "threads"])
def test_a_generator_that_ignores_its_cancellation_is_closed(
    runner: RunnerProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, "stubborn", **settings)
    runner.input(1, {"mark": mark})
    for _ in range(WINDOW_ITEMS):
        next_of(runner)
    runner.cancel(1)
    assert items_of(runner)[1].json["kind"] == "cancelled"
    assert Path(mark + ".ignored").exists()


def test_an_item_that_cannot_travel_ends_the_generator(runner: RunnerProcess) -> None:
    start(runner, "unpicklable")
    runner.input(1, args=())
    items, end = items_of(runner)
    assert items == [1]
    assert end.json["kind"] == "result_not_serializable"
    assert "an item can't be pickled" in end.json["message"]
    assert (1, 1, "cleaned up\n") in runner.logs()


def test_an_item_over_the_limit_says_so(runner: RunnerProcess) -> None:
    start(runner, "sync")
    runner.input(1, {"n": 1, "size": frames.MAX_ITEM_BYTES})
    items, end = items_of(runner)
    assert items == []
    assert "yield it in several" in end.json["message"]


def test_two_generators_share_a_container_each_with_its_own_window(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    start(runner, "sync", max_inputs=8)
    runner.input(1, {"n": WINDOW_ITEMS + 1})
    for _ in range(WINDOW_ITEMS):
        next_of(runner)
    runner.input(2, {"n": 3})
    items, end = items_of(runner)
    assert (items, end.stream) == ([0, 1, 2], 2)
    give(runner, 5, 5)
    items, end = items_of(runner)
    assert (items, end.stream) == ([WINDOW_ITEMS], 1)


def test_each_step_runs_in_the_context_of_its_input(runner: RunnerProcess) -> None:
    start(runner, "tells_its_call")
    runner.input(5, {"n": 2})
    items, _ = items_of(runner)
    assert items == ["in-0000000000005"] * 2


@each_mode
def test_a_lost_connection_ends_the_generator(
    runner: RunnerProcess, tmp_path: Path, function: str, settings: dict[str, Any]
) -> None:
    mark = str(tmp_path / "mark")
    start(runner, function, **settings)
    runner.input(1, {"n": 100_000, "mark": mark})
    next_of(runner)
    runner.drop()
    runner.accept()
    wait_for_file(Path(mark + ".finally"))
    runner.expect(frames.READY)
    runner.input(2, {"n": 1})
    assert items_of(runner)[0] == [0]


@pytest.mark.parametrize(
    "cls,settings",
    [("Model", {}), ("Model", {"max_inputs": 8}), ("AsyncModel", {"max_inputs": 8})],
    ids=IDS,
)
def test_a_method_may_be_a_generator_of_what_enter_has_loaded(
    runner: RunnerProcess, cls: str, settings: dict[str, Any]
) -> None:
    more = {"methods": ["words", "count"], "class_arguments": {}, "options": {}}
    start(runner, cls, is_async=cls == "AsyncModel", **more, **settings)
    runner.input(1, {"n": 2})
    items, end = items_of(runner)
    assert items == ["loaded 0", "loaded 1"]
    assert end.kind == frames.RESULT
    assert runner.call(method=1).value == 2
