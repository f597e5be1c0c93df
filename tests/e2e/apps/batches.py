"""Batched functions that tell whom they ran with. Waits are long: what is tested fills batches."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import ember

app = ember.App("batches")

MINUTE_MS = 60_000
KEPT = {"scaledown_window": 600.0, "max_containers": 1}


@app.function(**KEPT)
@ember.batched(max_batch_size=4, wait_ms=MINUTE_MS)
def together(x: list[int]) -> list[list[int]]:
    return [sorted(x)] * len(x)


@app.function(**KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
async def together_async(x: list[int], y: list[str] = "none") -> list[Any]:  # pyright: ignore[reportArgumentType]
    await asyncio.sleep(0)
    return [(sorted(x), one) for one in y]


@ember.concurrent(max_inputs=2)
@app.function(**KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
def side_by_side(x: list[int]) -> list[list[int]]:
    deadline = time.monotonic() + 30
    running.append(x)
    while len(running) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return [sorted(one for batch in running for one in batch)] * len(x)


running: list[list[int]] = []


@app.function()
def asks(x: int) -> list[int]:
    return together.remote(x)


@app.cls(**KEPT)
class Model:
    name: str = ember.parameter(default="base")

    @ember.enter()
    def load(self) -> None:
        self.batches = 0

    @ember.method()
    @ember.batched(max_batch_size=3, wait_ms=MINUTE_MS)
    def embed(self, text: list[str]) -> list[tuple[str, int, int, str]]:
        self.batches += 1
        where = os.environ["EMBER_CONTAINER_ID"]
        return [(self.name + one, len(text), self.batches, where) for one in text]


@app.function(**KEPT)
@ember.batched(max_batch_size=3, wait_ms=MINUTE_MS)
def moody(how: list[str]) -> Any:
    if "raises" in how:
        raise KeyError("the batch")
    if "short" in how:
        return how[1:]
    if "tuple" in how:
        return tuple(how)
    return [ValueError("refused") if one == "refused" else one for one in how]


tries: dict[int, int] = {}


@app.function(retries=ember.Retries(max_retries=2, initial_delay_s=0.05), **KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
def second_time(x: list[int]) -> list[Any]:
    for one in x:
        tries[one] = tries.get(one, 0) + 1
    if tries[x[0]] == 1:
        raise ValueError("not at first")
    return [(tries[one], sorted(x)) for one in x]


@app.cls(max_containers=1, scaledown_window=600)
class Gate:
    @ember.enter()
    def close(self) -> None:
        self.is_open = False

    @ember.method()
    def open(self) -> None:
        self.is_open = True

    @ember.method()
    def passed(self) -> bool:
        return self.is_open


@app.function(timeout=60, **KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
def held(x: list[int]) -> list[list[int]]:
    while not Gate().passed.remote():
        time.sleep(0.02)
    return [sorted(x)] * len(x)


@app.function(timeout=1, **KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
def too_long(x: list[int]) -> list[int]:
    time.sleep(50)
    return x


@app.function(**KEPT)
@ember.batched(max_batch_size=2, wait_ms=MINUTE_MS)
def dies(x: list[int]) -> list[int]:
    os._exit(3)


@app.function(**KEPT)
@ember.batched(max_batch_size=50, wait_ms=10)
def squares(x: list[int]) -> list[tuple[int, int]]:
    return [(one * one, len(x)) for one in x]


@app.function()
def plain(x: int) -> int:
    return x
