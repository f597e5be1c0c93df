"""Progress in the runner: some of it leaves, the last always, and before the answer."""

from __future__ import annotations

import pytest
from conftest import Got, RunnerProcess

import ember
from ember.runner import _frames as frames

MODULE = """
import threading, time

@app.function()
def sync(n):
    for i in range(n):
        ember.progress(step=i + 1, total=n, metrics={"loss": 0.5})
    return n

@app.function()
async def tasks(n):
    for i in range(n):
        ember.progress(step=i + 1, total=n, metrics={"loss": 0.5})
    return n

@app.function()
def fails(n):
    for i in range(n):
        ember.progress(step=i + 1)
    raise ValueError("after that")

@app.function()
def waits(n):
    for i in range(n):
        ember.progress(step=i + 1)
    time.sleep(600)

@app.function()
def from_a_thread(n):
    def work():
        for i in range(n):
            ember.progress(step=i + 1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

@app.function()
def odd():
    ember.progress(metrics={"nan": float("nan"), "infinite": float("inf"), "whole": True})
"""

MODES = {
    "sync": {},
    "tasks": {"is_async": True},
    "fails": {},
    "from_a_thread": {},
}


def told(runner: RunnerProcess) -> list[Got]:
    return [got for got in runner.set_aside if got.kind == frames.PROGRESS]


@pytest.mark.parametrize("function", MODES)
def test_the_last_is_told_before_the_answer_and_few_of_those_before(
    runner: RunnerProcess, function: str
) -> None:
    runner.start(MODULE, function, **MODES[function]).ready()
    runner.input(1, {"n": 20_000})
    runner.answer(1)
    steps = [got.json["step"] for got in told(runner)]
    assert steps[0] == 1 and steps[-1] == 20_000
    assert steps == sorted(steps)
    assert len(steps) < 1_000


def test_inputs_on_threads_each_tell_their_own(runner: RunnerProcess) -> None:
    runner.start(MODULE, "sync", max_inputs=4).ready()
    for stream in (1, 2, 3):
        runner.input(stream, {"n": 10 * stream}, attempt=stream)
    for stream in (1, 2, 3):
        runner.answer(stream)
    last = {(got.stream, got.attempt): got.json["step"] for got in told(runner)}
    assert last == {(1, 1): 10, (2, 2): 20, (3, 3): 30}


def test_what_is_said_last_leaves_though_the_input_goes_on(runner: RunnerProcess) -> None:
    runner.start(MODULE, "waits").ready()
    runner.input(1, {"n": 100})
    while runner.expect(frames.PROGRESS).json["step"] != 100:
        pass


def test_numbers_that_json_has_not_are_nothing(runner: RunnerProcess) -> None:
    runner.start(MODULE, "odd").ready()
    runner.call({})
    (got,) = told(runner)
    assert got.json == {
        "step": None, "total": None, "metrics": {"nan": None, "infinite": None, "whole": 1},
    }  # fmt: skip


def test_outside_of_a_call_nothing_comes_of_it() -> None:
    ember.progress(step=1, total=2, metrics={"loss": 0.5})
    ember.checkpoint(__file__)
    assert ember.latest_checkpoint() is None


@pytest.mark.parametrize(
    "wrong",
    [{"step": "one"}, {"metrics": {"loss": "low"}}, {"metrics": {1: 2}},
     {"metrics": {str(i): i for i in range(40)}}],
)  # fmt: skip
def test_what_is_no_number_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ember.exception.InvalidArgumentError):
        ember.progress(**wrong)  # pyright: ignore[reportArgumentType]
