"""Batches in the runner: lists in, a list back, and to each input its own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import RunnerProcess, input_frame, wait_for_file

from ember.runner import _frames as frames

MODULE = """
import pathlib, sys, time
import asyncio

seen = []

@app.function()
@ember.batched(max_batch_size=8, wait_ms=10)
{a}def f(x: list[int], y: list[int] = 5, *, mode: list[str] = "plain"):
    seen.append(list(x))
    if "raise" in mode:
        raise ValueError("all of it")
    if "short" in mode:
        return x[1:]
    if "dict" in mode:
        return {{}}
    if "seen" in mode:
        return [seen] * len(x)
    if "print" in mode:
        print("working")
    if "wait" in mode:
        pathlib.Path(f"{{sys.path[0]}}/began").touch()
        while True:
            {sleep}
    return [
        ValueError(f"not {{a}}") if m == "refused" else object() if m == "odd" else a + b
        for a, b, m in zip(x, y, mode)
    ]
"""

MODES = {
    "sync": (MODULE.format(a="", sleep="time.sleep(0.005)"), {}),
    "threads": (MODULE.format(a="", sleep="time.sleep(0.005)"), {"max_inputs": 2}),
    "tasks": (
        MODULE.format(a="async ", sleep="await asyncio.sleep(0.005)"),
        {"is_async": True, "max_inputs": 2},
    ),
}


@pytest.fixture(params=MODES)
def batched(request: pytest.FixtureRequest, runner: RunnerProcess) -> RunnerProcess:
    """A runner of a batched function, in each of the modes."""
    module, settings = MODES[request.param]
    return runner.start(module, is_batched=True, **settings).ready()


def batch(runner: RunnerProcess, *inputs: dict[str, Any], first: int = 1, attempt: int = 1) -> None:
    """Sends inputs, numbered from `first` on, as one batch."""
    head = frames.frame(frames.BATCH, 0, 0, 0, frames.BATCH_BODY.pack(len(inputs)))
    sent = [input_frame(first + i, one, attempt=attempt) for i, one in enumerate(inputs)]
    runner.send(b"".join([head, *sent]))


def test_each_input_gets_the_result_at_its_place(batched: RunnerProcess) -> None:
    batch(batched, {"x": 1}, {"x": 2, "y": 10}, {"x": 3})
    assert [batched.answer(stream).json for stream in (1, 2, 3)] == [6, 12, 8]
    batch(batched, {"x": 4}, first=4)
    assert batched.answer(4).json == 9


def test_inputs_are_json_and_pickles_in_place_and_by_name(batched: RunnerProcess) -> None:
    head = frames.frame(frames.BATCH, 0, 0, 0, frames.BATCH_BODY.pack(3))
    one, two = input_frame(1, args=(1, 2)), input_frame(2, args=(1,))
    batched.send(head + one + two + input_frame(3, {"y": 1, "x": 1}))
    assert [batched.answer(stream).value for stream in (1, 2, 3)] == [3, 6, 2]


def test_what_the_function_raises_is_the_answer_to_all(batched: RunnerProcess) -> None:
    batch(batched, {"x": 1}, {"x": 2, "mode": "raise"})
    for stream in (1, 2):
        answer = batched.answer(stream)
        assert answer.kind == frames.ERROR
        assert (answer.json["kind"], answer.json["message"]) == ("user_exception", "all of it")
        assert "in f" in answer.json["traceback"]


@pytest.mark.parametrize(
    ("mode", "kind", "text"),
    [
        ("short", "ValueError", "f was given 2 inputs in a batch and returned 1 results"),
        ("dict", "TypeError", "f is batched and returned dict, not a list"),
    ],
)
def test_a_result_of_the_wrong_shape_fails_the_batch(
    batched: RunnerProcess, mode: str, kind: str, text: str
) -> None:
    batch(batched, {"x": 1, "mode": mode}, {"x": 2})
    for stream in (1, 2):
        report = batched.answer(stream).json
        assert (report["kind"], report["type"]) == ("user_exception", kind)
        assert text in report["message"]


def test_a_returned_exception_fails_its_input_alone(batched: RunnerProcess) -> None:
    batch(batched, {"x": 1}, {"x": 2, "mode": "refused"}, {"x": 3, "mode": "odd"}, {"x": 4})
    assert [batched.answer(stream).json for stream in (1, 4)] == [6, 9]
    refused = batched.answer(2)
    assert (refused.kind, refused.json["type"], refused.json["message"]) == (
        frames.ERROR,
        "ValueError",
        "not 2",
    )
    assert batched.answer(3).json["kind"] == "result_not_serializable"


def test_arguments_that_do_not_fit_fail_their_input_alone(batched: RunnerProcess) -> None:
    batch(batched, {"x": "one", "mode": "seen"}, {"x": 2, "mode": "seen"}, {"z": 3})
    assert batched.answer(2).json == [[2]]
    assert batched.answer(1).json["message"] == '"x": expected int, got str'
    assert batched.answer(3).json["kind"] == "bad_arguments"


def test_a_batch_of_which_nothing_fits_is_not_run(batched: RunnerProcess) -> None:
    batch(batched, {}, {"x": None})
    assert [batched.answer(stream).json["kind"] for stream in (1, 2)] == ["bad_arguments"] * 2
    batch(batched, {"x": 3, "mode": "seen"}, first=3)
    assert batched.answer(3).json == [[3]]


def test_an_interruption_names_the_first_and_ends_all(batched: RunnerProcess) -> None:
    # Where the arguments of the first don't fit it stands for the batch all the same.
    batch(batched, {"x": "no"}, {"x": 1, "mode": "wait"}, {"x": 2}, attempt=2)
    wait_for_file(batched.directory / "source" / "began")
    batched.cancel(1, attempt=2)
    assert batched.answer(1).json["kind"] == "bad_arguments"
    for stream in (2, 3):
        answer = batched.answer(stream)
        assert (answer.attempt, answer.json["kind"]) == (2, "cancelled")
    batch(batched, {"x": 4}, first=4)
    assert batched.answer(4).json == 9


def test_what_a_batch_prints_is_the_first_inputs(batched: RunnerProcess) -> None:
    batch(batched, {"x": 1, "mode": "print"}, {"x": 2}, first=8)
    batched.answer(9)
    assert batched.logs() == [(1, 8, "working\n")]


def test_half_a_batch_of_a_lost_server_is_forgotten(batched: RunnerProcess) -> None:
    head = frames.frame(frames.BATCH, 0, 0, 0, frames.BATCH_BODY.pack(2))
    batched.send(head + input_frame(1, {"x": 1}))
    batched.drop()
    batched.accept()
    batched.expect(frames.READY)
    batch(batched, {"x": 5}, {"x": 6}, first=5)
    assert [batched.answer(stream).json for stream in (5, 6)] == [10, 11]


def test_a_batch_that_comes_while_a_thread_waits_for_a_call_runs(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start(
        """
        import pathlib, threading

        other = ember.Function.from_name("test", "other")

        def ask(mark):
            pathlib.Path(mark).touch()
            other.remote(1)

        @app.function()
        @ember.batched(max_batch_size=8, wait_ms=10)
        def f(mark: list):
            if mark[0]:
                threading.Thread(target=ask, args=(mark[0],), daemon=True).start()
            return [len(mark)] * len(mark)
        """,
        is_batched=True,
    ).ready()
    batch(runner, {"mark": str(tmp_path / "mark")})
    call = runner.expect(frames.CALL)
    assert runner.answer(1).json == 1
    batch(runner, {"mark": None}, {"mark": None}, first=2)
    assert [runner.answer(stream).json for stream in (2, 3)] == [2, 2]
    assert call.stream
