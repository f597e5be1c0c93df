"""Two functions on shares of one real device: one that keeps to its share, one that does not."""

from __future__ import annotations

import os
import time

import cuda
import ember

app = ember.App("gpu-shares")
GPU = os.environ.get("EMBER_TEST_GPU")
SHARE = os.environ.get("EMBER_TEST_SHARE", "4GB")


@app.function(gpu=GPU, vram=SHARE, memory="4GB", max_containers=2, scaledown_window=2)
def holds(part_percent: int, for_s: float) -> dict[str, int]:
    """Allocate a part of the share, compute in it, hold it for a while."""
    device = cuda.Device()
    limit = int(os.environ["EMBER_GPU_VRAM_BYTES"])
    memory = device.allocate(limit * part_percent // 100)
    words = 1 << 20
    device.fill(memory, 41, words * 4)
    device.add_one(memory, words)
    time.sleep(for_s)
    right = device.read(memory.value, words * 4).count((42).to_bytes(4, "little"))
    return {"limit": limit, "right": right, "words": words}
