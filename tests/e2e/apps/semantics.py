"""Functions that tell the test when they run, by the queue `told`, and go on when it says so, by `gate`.

A copy of this file with another VERSION is the next version of the app.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import ember

VERSION = 1
app = ember.App("semantics")

# None of these is there, and importing this module asks nobody for them.
elsewhere = ember.Function.from_name("semantics-no-such-app", "f")
never_made = ember.Dict.from_name("semantics-never-made")

secret = ember.Secret.from_name("semantics", required_keys=["TOKEN"])


def container() -> str:
    return os.environ["EMBER_CONTAINER_ID"]


@app.function(cpu=0.02)
def holds(told: ember.Queue, gate: ember.Queue) -> tuple[object, int]:
    told.put(container())
    return gate.get(timeout=60), VERSION


longer = holds.with_options(timeout=77)  # at import, and without a server


@app.function(cpu=0.02, retries=ember.Retries(3, initial_delay_s=0))
def fails(told: ember.Queue, gate: ember.Queue) -> None:
    told.put(container())
    gate.get(timeout=60)
    raise LookupError("again")


@app.function(cpu=0.02, timeout=1, max_containers=1, retries=ember.Retries(1, initial_delay_s=0))
def takes(seconds: float, told: ember.Queue, slow_attempts: int = 0) -> int:
    """Returns its attempt. The first ones may take for ever."""
    told.put("runs")
    attempt = told.len()
    time.sleep(3600 if attempt <= slow_attempts else seconds)
    return attempt


@app.cls(cpu=0.02, timeout=1, startup_timeout=60)
class SlowToStart:
    @ember.enter()
    def load(self) -> None:
        time.sleep(1.5)

    @ember.method()
    def call(self) -> str:
        return "called"


@app.function(cpu=0.02, max_containers=2)
def double(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return 2 * number


class OnlyThere(Exception):
    """Of this module, which callers have not."""


@app.function(cpu=0.02)
def raises(kind: str) -> None:
    if kind == "known":
        raise KeyError("which")
    if kind == "large":
        raise ValueError("x" * 3_000_000)
    raise OnlyThere("gone")


@app.function(cpu=0.02)
def calls_elsewhere() -> str:
    try:
        return elsewhere.remote()
    except ember.exception.NotFoundError as error:
        return str(error)


@app.cls(cpu=0.02)
class Enters:
    fails: bool = ember.parameter(default=False)

    @ember.enter()
    def load(self) -> None:
        if self.fails:
            raise ValueError("no such weights")
        ember.Queue.from_name("semantics-told").put("entering")
        self.loaded = ember.Queue.from_name("semantics-gate").get(timeout=60)

    @ember.method()
    def call(self) -> Any:
        return self.loaded


@app.function(cpu=0.02, max_containers=1)
def capped(told: ember.Queue, gate: ember.Queue) -> tuple[object, int]:
    told.put(VERSION)
    return gate.get(timeout=60), VERSION


@app.function(cpu=0.02, buffer_containers=1, scaledown_window=1)
def buffered(told: ember.Queue, gate: ember.Queue) -> object:
    told.put(container())
    return gate.get(timeout=60)


@app.function(cpu=0.02, max_containers=1)
def where() -> str:
    return container()


@app.function(cpu=0.02, max_containers=1)
@ember.concurrent(max_inputs=3)
def side_by_side(told: ember.Queue, gate: ember.Queue, word: str = "") -> object:
    print(word, "begins")
    told.put(container())
    answer = gate.get(timeout=60)
    print(word, "ends")
    return answer


@app.cls(cpu=0.02, max_containers=1)
@ember.concurrent(max_inputs=2)
class Shared:
    @ember.method()
    def one(self, told: ember.Queue, gate: ember.Queue) -> object:
        told.put(("one", container()))
        return gate.get(timeout=60)

    @ember.method()
    def other(self, told: ember.Queue, gate: ember.Queue) -> object:
        told.put(("other", container()))
        return gate.get(timeout=60)


@app.function(cpu=0.02, max_containers=1)
@ember.batched(max_batch_size=8, wait_ms=500)
def together(number: list[int]) -> list[int]:
    """How many there were, for each; for zeros a list that is too long."""
    return [len(number)] * (len(number) + (0 in number))


@app.function(cpu=0.02, retries=ember.Retries(3, initial_delay_s=0))
def counts(told: ember.Queue, n: int, breaks: bool = False) -> Iterator[int]:
    told.put("runs")
    try:
        yield from range(n)
        if breaks:
            raise LookupError("no more")
    finally:
        told.put("cleans up")


@app.function(cpu=0.02)
@ember.asgi_app(unauthenticated=True)
def site() -> Any:
    told, gate = (ember.Queue.from_name(f"semantics-{name}") for name in ("told", "gate"))

    async def chat(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        await told.put.aio("the socket is closed")

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            return await chat(receive, send)
        if scope["type"] == "lifespan":
            return None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"piece", "more_body": True})
                await gate.get.aio(timeout=60)
        except asyncio.CancelledError:
            await told.put.aio("the client has left")
            raise

    return asgi


@app.function(cpu=0.02, max_containers=1, secrets=[secret])
def token() -> tuple[str, str]:
    return container(), os.environ["TOKEN"]


@app.function(cpu=0.02)
def reverse(data: bytes) -> bytes:
    return data[::-1]


@app.function(cpu=0.02, scaledown_window=1)
def billed() -> None:
    time.sleep(0.2)


@app.cls(cpu=0.02)
class Snapped:
    @ember.enter(snap=True)
    def first(self) -> None:
        self.made = container()

    @ember.enter()
    def then(self) -> None:
        assert self.made == container(), "what a container is told is its own"

    @ember.method()
    def own(self, told: ember.Queue, gate: ember.Queue) -> list[object]:
        told.put("runs")
        gate.get(timeout=60)
        return [self.made, random.random(), os.urandom(8), os.uname().nodename]


@app.function(cpu=0.02)
def main_thread() -> list[object]:
    """What only the main thread may do; and then it lets no other thread run for a while."""
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, before)

    async def in_a_loop() -> str:
        return "a loop of its own"

    ctypes.PyDLL(None).sleep(2)  # with the interpreter's lock held
    return [threading.current_thread() is threading.main_thread(), asyncio.run(in_a_loop())]
