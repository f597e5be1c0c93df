"""Functions of several sorts, for callers to call while their processes are killed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import ember

if TYPE_CHECKING:
    from collections.abc import Iterator

app = ember.App("under-kills")
Seen = tuple[str, str]  # the caller's token and the container that gave it back


def _seen(token: str) -> Seen:
    return token, os.environ["EMBER_CONTAINER_ID"]


@app.function(scaledown_window=2)
def echo(token: str) -> Seen:
    """Give the token back at once."""
    return _seen(token)


@app.function(gpu="L4", scaledown_window=1)
def on_gpu(token: str, seconds: float) -> Seen:
    """Hold a device for a while."""
    time.sleep(seconds)
    return _seen(token)


@app.function(gpu=["H100", "L4"], scaledown_window=1)
def on_either(token: str, seconds: float) -> Seen:
    """Hold one of two types of device for a while."""
    time.sleep(seconds)
    return _seen(token)


@app.function(cpu=0.5, scaledown_window=1, max_containers=2)
def compute(token: str, seconds: float) -> Seen:
    """Use a core for a while."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return _seen(token)


@app.function(scaledown_window=1)
@ember.concurrent(max_inputs=4)
def shared(token: str, seconds: float) -> Seen:
    """Share a container with other calls for a while."""
    time.sleep(seconds)
    return _seen(token)


@app.function(scaledown_window=1)
@ember.batched(max_batch_size=3, wait_ms=50)
def batched(token: list[str], seconds: list[float]) -> list[Seen]:
    """Run together with other calls for a while."""
    time.sleep(max(seconds))
    return [_seen(one) for one in token]


@app.function(scaledown_window=1, max_containers=2)
def items(token: str, count: int, seconds: float) -> Iterator[tuple[str, int]]:
    """Give the token back several times, with rests between."""
    for number in range(count):
        yield token, number
        time.sleep(seconds / count)


@app.function(
    scaledown_window=1, max_containers=2, retries=ember.Retries(max_retries=2, initial_delay_s=0.1)
)
def job(token: str, seconds: float) -> Seen:
    """Be called by those who do not wait."""
    time.sleep(seconds)
    return _seen(token)


@app.function(scaledown_window=1, max_containers=2)
def mapped(token: str, seconds: float) -> Seen:
    """Be one of many."""
    time.sleep(seconds)
    return _seen(token)


@app.function(scaledown_window=1, max_containers=2)
def mapped_later(token: str, seconds: float) -> Seen:
    """Be one of many that nobody waits for."""
    time.sleep(seconds)
    return _seen(token)


@app.function(scaledown_window=1)
def answer(token: str) -> Seen:
    """Be called by another function alone."""
    return _seen(token)


@app.function(scaledown_window=1)
def ask(token: str) -> Seen:
    """Call another function from inside a container."""
    return answer.remote(token)


@app.function(scaledown_window=1)
def refuse(token: str) -> Seen:
    """Fail in user code."""
    raise ValueError(token)
