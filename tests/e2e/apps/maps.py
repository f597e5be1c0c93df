"""Functions to map over inputs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import ember

if TYPE_CHECKING:
    from collections.abc import Iterator

app = ember.App("maps")
# Many functions, which shall all find room on a small machine.
SMALL: Any = {"cpu": 0.02, "scaledown_window": 20}


@app.function(**SMALL, max_containers=3)
def double(number: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return 2 * number


@app.function(**SMALL, max_containers=2)
def add(one: int, other: int, more: int = 0) -> int:
    return one + other + more


@app.function(**SMALL, max_containers=2)
def odd_ones_fail(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@app.function(**SMALL, max_containers=2)
def holds_on(_number: int) -> None:
    time.sleep(600)


@app.function(**SMALL, max_containers=1)
@ember.concurrent(max_inputs=8)
def holds_some(number: int) -> int:
    """The first waits for the end of the world, the others do not."""
    if number == 0:
        time.sleep(600)
    return number


@app.function(**SMALL, max_containers=1, queue_limit=2)
def narrow(number: int) -> int:
    time.sleep(0.002)
    return number


@app.function(**SMALL, max_containers=4, retries=ember.Retries(2, initial_delay_s=0.01))
def process_id(_number: int) -> int:
    time.sleep(0.01)
    return os.getpid()


@app.function(**SMALL, max_containers=1, memory=512)
def sized(size_bytes: int) -> bytes:
    return b"x" * size_bytes


@app.function(**SMALL, max_containers=1, memory=512)
def length(data: bytes) -> int:
    return len(data)


@app.cls(**SMALL, max_containers=2)
class Times:
    factor: int = ember.parameter(default=1)

    @ember.method()
    def apply(self, number: int) -> int:
        return self.factor * number


@app.function(**SMALL)
def maps_a_parameter_inside(count: int) -> list[int]:
    return list(Times(factor=5).apply.map(range(count)))


@app.function(**SMALL)
def holds_on_inside() -> None:
    holds_on.for_each(range(10))


@app.function(**SMALL)
def maps_inside(count: int) -> list[int]:
    return list(double.map(range(count)))


@app.function(**SMALL)
async def maps_inside_async(count: int) -> list[int]:
    return sorted([value async for value in double.map.aio(range(count), order_outputs=False)])


@app.function(**SMALL)
async def maps_blocking_the_loop(count: int) -> list[int]:
    return list(double.map(range(count)))


@app.function(**SMALL)
@ember.concurrent(max_inputs=2)
def maps_on_threads(count: int) -> list[int]:
    return list(add.starmap([(number, 1) for number in range(count)]))


@app.function(**SMALL)
def maps_nothing() -> list[int]:
    return list(double.map([]))


@app.function(**SMALL)
def maps_more_than_fits(count: int) -> list[int]:
    return list(narrow.map(range(count)))


@app.function(**SMALL)
def raises_inside() -> str:
    try:
        list(odd_ones_fail.map(range(10)))
    except ValueError as error:
        return str(error)
    return "nothing"


@app.function(**SMALL)
def breaks_off_inside() -> int:
    for value in holds_some.map(range(100), order_outputs=False):
        return value
    return -1


@app.function(**SMALL)
def inputs_break_inside() -> str:
    def inputs() -> Iterator[int]:
        yield 0
        raise LookupError("no more")

    try:
        list(holds_on.map(inputs()))
    except LookupError as error:
        return str(error)
    return "nothing"
