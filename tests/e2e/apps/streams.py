"""Generators that go on when the test says so, and tell what became of them.

`gate` is the one place that both know: it runs in one container and keeps what it is told.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

import ember

app = ember.App("streams")

_opened: set[str] = set()
_notes: defaultdict[str, list[object]] = defaultdict(list)


@ember.concurrent(max_inputs=100)
@app.function(max_containers=1, scaledown_window=300)
async def gate(verb: str, name: str, value: object = None) -> object:
    if verb == "open":
        _opened.add(name)
    elif verb == "note":
        _notes[name].append(value)
    elif verb == "pass":
        while name not in _opened:
            await asyncio.sleep(0.005)
    return _notes[name]


@app.function(max_containers=1)
def steps(name: str, n: int) -> Iterator[dict[str, object]]:
    """Makes item i once the reader of the one before it has opened the gate."""
    try:
        for i in range(n):
            if i:
                gate.remote("pass", f"{name}-{i}")
            yield {"i": i, "text": "line\nbreak"}
    finally:
        gate.remote("note", name, "finally")


@app.function(max_containers=1)
async def steps_async(name: str, n: int) -> AsyncIterator[dict[str, object]]:
    try:
        for i in range(n):
            if i:
                await gate.remote.aio("pass", f"{name}-{i}")
            yield {"i": i, "text": "line\nbreak"}
    finally:
        await gate.remote.aio("note", name, "finally")


@ember.concurrent(max_inputs=4)
@app.function(max_containers=1)
def steps_threaded(name: str, n: int) -> Iterator[dict[str, object]]:
    try:
        for i in range(n):
            if i:
                gate.remote("pass", f"{name}-{i}")
            yield {"i": i, "text": "line\nbreak"}
    finally:
        gate.remote("note", name, "finally")


@app.cls(max_containers=1)
class Reader:
    """Yields what it has loaded, item by item as steps() does."""

    @ember.enter()
    def load(self) -> None:
        self.text = "line\nbreak"

    @ember.method()
    def steps(self, name: str, n: int) -> Iterator[dict[str, object]]:
        try:
            for i in range(n):
                if i:
                    gate.remote("pass", f"{name}-{i}")
                yield {"i": i, "text": self.text}
        finally:
            gate.remote("note", name, "finally")

    @ember.method()
    def plain(self) -> int:
        return len(self.text)


@app.function(max_containers=1)
def flood(name: str, mib: int) -> Iterator[bytes]:
    """Tells how many it has made whenever it made some, since nobody else can."""
    made = 0
    try:
        for made in range(1, 16 * mib + 1):
            print(f"made {made}")
            yield bytes(64 << 10)
    finally:
        gate.remote("note", name, made)


@app.function(max_containers=1)
def busy(name: str) -> Iterator[int]:
    try:
        yield 1
        while True:
            time.monotonic()
    finally:
        gate.remote("note", name, "finally")


@app.function(max_containers=1)
def breaks(n: int) -> Iterator[int]:
    yield from range(n)
    raise LookupError("nothing is left")


@app.function(max_containers=1)
def doomed(name: str) -> Iterator[str]:
    gate.remote("note", name, "ran")
    yield "first"
    gate.remote("pass", name)


@app.function(max_containers=1)
def relay(name: str, n: int) -> Iterator[int]:
    """Passes the items of another generator on, from within a container."""
    for item in steps.remote_gen(name, n):
        yield item["i"]


@app.function(max_containers=1)
async def relay_async(name: str, n: int) -> AsyncIterator[int]:
    async for item in steps.remote_gen.aio(name, n):
        yield item["i"]


@app.function(max_containers=1)
def first_of(name: str, n: int) -> int:
    """Leaves the loop with the first item."""
    for item in steps.remote_gen(name, n):
        return item["i"]
    return -1


@app.function(max_containers=1)
def counts(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(max_containers=1)
def counts_elsewhere(n: int) -> list[int]:
    return list(counts.with_options(timeout=80).remote_gen(n))


@app.function(max_containers=1, retries=ember.Retries(max_retries=3, initial_delay_s=0))
def flaky(name: str, n: int) -> Iterator[int]:
    """Fails before its first item until the nth attempt."""
    gate.remote("note", name, "ran")
    attempt = len(notes_of(name))
    if attempt < n:
        raise LookupError("not yet")
    yield attempt


@app.function(max_containers=1, retries=ember.Retries(max_retries=3, initial_delay_s=0))
def flaky_later(name: str) -> Iterator[int]:
    gate.remote("note", name, "ran")
    yield 1
    raise LookupError("nothing is left")


def notes_of(name: str) -> list[object]:
    return gate.remote("read", name)


@app.function(max_containers=1)
def plain(n: int) -> int:
    return n


@app.function(max_containers=1)
def gives_a_generator(n: int) -> object:
    return (i for i in range(n))


@app.function(max_containers=1)
def tells_steps(name: str) -> int:
    """Gives one result, and says how far it is before."""
    ember.progress(step=1, total=2)
    gate.remote("pass", name)
    return 5


@app.function(max_containers=1)
async def tells_between(name: str) -> AsyncIterator[int]:
    yield 1
    ember.progress(step=1, metrics={"loss": 0.5})
    await gate.remote.aio("pass", name)
    yield 2


@app.cls(max_containers=1)
class Model:
    """Speaks with what it has loaded."""

    voice: str = ember.parameter(default="plain")

    @ember.enter()
    def load(self) -> None:
        self.loaded = f"{self.voice} voice"

    @ember.method()
    def words(self, name: str, n: int) -> Iterator[str]:
        try:
            for i in range(n):
                if i:
                    gate.remote("pass", f"{name}-{i}")
                yield f"{self.loaded} {i}"
        finally:
            gate.remote("note", name, "finally")

    @ember.method()
    def count(self) -> int:
        return len(self.loaded)

    @ember.method()
    def twice(self, name: str) -> list[str]:
        return [*self.words.remote_gen(name, 1), *self.words.local(name, 1)]


@app.cls(max_containers=1)
@ember.concurrent(max_inputs=4)
class AsyncModel:
    @ember.enter()
    async def load(self) -> None:
        self.loaded = "async voice"

    @ember.method()
    async def words(self, name: str, n: int) -> AsyncIterator[str]:
        try:
            for i in range(n):
                if i:
                    await gate.remote.aio("pass", f"{name}-{i}")
                yield f"{self.loaded} {i}"
        finally:
            await gate.remote.aio("note", name, "finally")
