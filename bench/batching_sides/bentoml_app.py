"""BentoML: one worker, batches of at most 32, sized by its model of how long they take."""

from __future__ import annotations

import time

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 30})
class Work:
    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60_000, route="/work")
    def work(self, x: list[int]) -> list[int]:
        time.sleep(0.020 + 0.001 * len(x))
        return [len(x)] * len(x)
