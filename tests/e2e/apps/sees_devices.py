"""What a container sees of the machine's devices."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import ember

app = ember.App("sees-devices")


def _look() -> dict[str, Any]:
    def opens(name: str) -> bool:
        try:
            Path("/dev", name).open("rb").close()
        except OSError:
            return False
        return True

    def loads(name: str) -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    nodes = sorted(path.name for path in Path("/dev").glob("nvidia*"))
    return {
        "nodes": nodes,
        "opened": [name for name in nodes if opens(name)],
        "library": loads("libnvidia-ml.so.1"),
        "variable": os.environ["CUDA_VISIBLE_DEVICES"],
    }


@app.function(gpu="L4")
def with_gpu() -> dict[str, Any]:
    """Look from a container with one device."""
    return _look()


@app.function()
def without_gpu() -> dict[str, Any]:
    """Look from a container with none."""
    return _look()
