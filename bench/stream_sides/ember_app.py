"""The streams of the benchmark on Ember: all of them in one container, on its event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ember
import ticking

app = ember.App("bench-stream")


@app.function(cpu=1.0, min_containers=1, max_containers=1, timeout=3600)
@ember.concurrent(max_inputs=1000)
async def ticks(stream: int) -> AsyncIterator[Any]:
    """The items of a stream; of stream -1, when those that have ended stopped."""
    if stream < 0:
        yield ticking.take_stopped()
        return
    async for at_ns in ticking.ticks(stream):
        yield at_ns
