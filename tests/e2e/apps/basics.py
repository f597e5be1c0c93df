"""What an ordinary app does: values in and out, logs, calls of other functions, state."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
import time

import ember

app = ember.App("basics")

imported_in = os.getpid()


@app.function()
def add(a: int, b: int = 10) -> int:
    return a + b


@app.function()
async def add_async(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.function()
def digest(data: bytes, name: str | None = None) -> dict:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "name": name}


@app.function()
def read_input() -> str:
    return sys.stdin.read()


@app.function()
def shout(text: str) -> str:
    print(f"out {text}")
    print(f"err {text}", file=sys.stderr)
    return text.upper()


@app.function()
def twice(a: int) -> int:
    return add.remote(a, a)


@app.function(env={"GREETING": "good day"})
def environment(name: str) -> str | None:
    return os.environ.get(name)


@app.function(gpu="L4")
def on_gpu() -> str:
    return "done"


@app.function(timeout=600)
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"


@app.function(max_containers=1)
@ember.concurrent(max_inputs=4)
def meet(count: int) -> int:
    """Returns once `count` inputs are in here at the same time; a thread each."""
    _barrier(count).wait(timeout=60)
    return imported_in


@app.function(max_containers=1)
@ember.concurrent(max_inputs=4)
async def meet_async(count: int) -> int:
    """The same on the event loop."""
    global _met
    _met += 1
    deadline = time.monotonic() + 60
    while _met < count:
        assert time.monotonic() < deadline, f"{_met} of {count} came"
        await asyncio.sleep(0.01)
    return imported_in


_met = 0
_barriers: dict = {}
_lock = threading.Lock()


def _barrier(count: int) -> threading.Barrier:
    with _lock:
        return _barriers.setdefault(count, threading.Barrier(count))
