"""Functions that share a dictionary and a queue, by global handles and by those they are given."""

from __future__ import annotations

import asyncio
import queue

import ember

app = ember.App("shared-state")
counts = ember.Dict.from_name("shared-counts", create_if_missing=True)
jobs = ember.Queue.from_name("shared-jobs", create_if_missing=True)


@app.function()
def remember(key: str, value: int) -> list[object]:
    """In one container."""
    counts[key] = value
    counts.put((key, 1), {"nested": value})
    return [counts.put(key, -1, skip_if_exists=True), key in counts, len(counts)]


@app.function()
def recall(key: str) -> list[object]:
    """In another one."""
    found = [counts[key], counts.get((key, 1)), counts.get("missing", "none")]
    try:
        counts["missing"]
    except KeyError as error:
        found.append(repr(error))
    return found


@app.function()
def wait_for_job(timeout: float | None = None) -> object:
    try:
        return jobs.get(timeout=timeout)
    except queue.Empty:
        return "empty"


@app.function()
async def wait_as_task(patience: float) -> list[object]:
    """A get that is cancelled takes nothing."""
    task = asyncio.create_task(jobs.get.aio())
    await asyncio.sleep(patience)
    task.cancel()
    await jobs.put.aio("mine")
    return [await jobs.get.aio(timeout=30), await jobs.get.aio(block=False)]


@app.function()
def wait_in_own_loop(patience: float) -> list[object]:
    async def both() -> list[object]:
        task = asyncio.create_task(jobs.get.aio())
        await asyncio.sleep(patience)
        task.cancel()
        await jobs.put.aio("own")
        return [await jobs.get.aio(timeout=30), await jobs.get.aio(block=False)]

    return asyncio.run(both())


@app.function()
@ember.concurrent(max_inputs=4)
def double_all(source: ember.Queue, results: ember.Dict) -> int:
    """Works off what it is given, and keeps what comes of it."""
    done = 0
    while (number := source.get(block=False)) is not None:
        results[number] = 2 * number
        done += 1
    return done


@app.function()
def make_ephemeral() -> list[object]:
    with ember.Dict.ephemeral() as passing:
        passing.update(a=1, b=2)
        return [passing.name, sorted(passing.items())]
