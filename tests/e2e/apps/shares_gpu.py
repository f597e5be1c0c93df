"""Functions that share a device's memory, on devices that hold none in truth."""

from __future__ import annotations

import os
import time

import ember

app = ember.App("shares-gpu")


@app.function(gpu="L4", vram="10GB", max_containers=4)
def share(wait_s: float = 0.0) -> dict[str, str]:
    """Say what the container was told of its share."""
    time.sleep(wait_s)
    return {
        "limit": os.environ.get("EMBER_GPU_VRAM_BYTES", ""),
        "container": os.environ["EMBER_CONTAINER_ID"],
    }


@app.function(gpu="L4")
def whole() -> str:
    """Run on a device of one's own."""
    return os.environ.get("EMBER_GPU_VRAM_BYTES", "")


@app.function(vram="30GB")
def any_with_as_much() -> str:
    """Run wherever so much memory is."""
    return os.environ["EMBER_CONTAINER_ID"]
