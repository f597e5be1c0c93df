"""Dictionaries and queues from within a container, over the runner's socket."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from conftest import Got, RunnerProcess

from ember.runner import _frames as frames

WAYS = pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("get", {}),
        ("get", {"max_inputs": 8}),
        ("get_async", {"is_async": True, "max_inputs": 8}),
        ("get_in_own_loop", {}),
        ("get_in_own_loop", {"max_inputs": 8}),
    ],
)
MODULE = """
import asyncio, queue
jobs = ember.Queue.from_name("jobs")
settings = ember.Dict.from_name("settings", create_if_missing=True)

@app.function()
def get(timeout=None):
    return jobs.get(timeout=timeout, partition="p")

@app.function()
async def get_async(timeout=None):
    return await jobs.get.aio(timeout=timeout, partition="p")

@app.function()
def get_in_own_loop(timeout=None):
    return asyncio.run(jobs.get.aio(timeout=timeout, partition="p"))

@app.function()
def give_up():
    async def both():
        waiting = asyncio.create_task(jobs.get.aio())
        await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return await jobs.get.aio(timeout=5)
    return asyncio.run(both())

@app.function()
def put():
    settings["depth"] = 12
    try:
        jobs.put(1, block=False)
    except queue.Full as error:
        return str(error)
"""


def asked(got: Got) -> tuple[dict[str, Any], bytes]:
    assert got.kind == frames.SHARED
    size = int.from_bytes(got.body[:2], "little")
    return json.loads(got.body[2 : 2 + size]), got.body[2 + size :]


def items(*values: object) -> bytes:
    data = [pickle.dumps(value) for value in values]
    heads = [{"sequence": 1, "format": "pickle", "size_bytes": len(one)} for one in data]
    return json.dumps({"items": heads, "more": False}).encode() + b"\n" + b"".join(data)


@WAYS
def test_a_get_asks_and_waits(runner: RunnerProcess, name: str, settings: dict[str, Any]) -> None:
    runner.start(MODULE, name, qualname=name, **settings).ready()
    runner.input(1)
    question = runner.expect(frames.SHARED)
    head, rest = asked(question)
    assert head["action"] == "take" and head["name"] == "jobs" and head["partition"] == "p"
    assert 0 < head["wait_ms"] <= 60_000 and rest == b""
    # Nothing came in that time: it asks again.
    runner.send(frames.frame(frames.CALL_RESULT, frames.BYTES, 0, question.stream, items()))
    question = runner.expect(frames.SHARED)
    answer = items({"job": 1})
    runner.send(frames.frame(frames.CALL_RESULT, frames.BYTES, 0, question.stream, answer))
    assert runner.expect(frames.RESULT).value == {"job": 1}


@pytest.mark.parametrize("settings", [{}, {"max_inputs": 8}])
def test_a_get_that_is_cancelled_is_withdrawn(
    runner: RunnerProcess, settings: dict[str, Any]
) -> None:
    runner.start(MODULE, "give_up", **settings).ready()
    runner.input(1)
    first = runner.expect(frames.SHARED)
    assert runner.expect(frames.CALL_CANCEL).stream == first.stream
    second = runner.expect(frames.SHARED)
    runner.send(frames.frame(frames.CALL_RESULT, frames.BYTES, 0, second.stream, items("next")))
    assert runner.expect(frames.RESULT).value == "next"


def test_a_put_makes_what_is_missing_and_knows_a_full_partition(runner: RunnerProcess) -> None:
    runner.start(MODULE, "put").ready()
    runner.input(1)
    made = runner.expect(frames.SHARED)
    assert asked(made)[0]["action"] == "create"
    runner.send(frames.frame(frames.CALL_RESULT, frames.JSON, 0, made.stream, b"{}"))
    put = runner.expect(frames.SHARED)
    head, values = asked(put)
    assert (head["kind"], head["name"], head["action"]) == ("dict", "settings", "put")
    assert b'"key":"depth"' in values.partition(b"\n")[0]
    runner.send(frames.frame(frames.CALL_RESULT, frames.JSON, 0, put.stream, b'{"put": 1}'))
    full = runner.expect(frames.SHARED)
    error = {"kind": "resource_exhausted", "message": "no room",
             "limit": {"name": "partition_items", "value": 9}}  # fmt: skip
    body = json.dumps(error).encode()
    runner.send(frames.frame(frames.CALL_ERROR, frames.JSON, 0, full.stream, body))
    assert runner.expect(frames.RESULT).value == "no room"
