"""What every side runs: 20 ms and 1 ms for each input."""

from __future__ import annotations

import time

import ember

app = ember.App("bench-batching")


@app.function(min_containers=1, max_containers=1, queue_limit=100_000)
@ember.batched(max_batch_size=32, wait_ms=5)
def work(x: list[int]) -> list[int]:
    time.sleep(0.020 + 0.001 * len(x))
    return [len(x)] * len(x)
