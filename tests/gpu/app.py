"""What a container that was granted a GPU sees of the machine's devices."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import ember

app = ember.App("gpu-devices")


def _look() -> dict[str, Any]:
    seen: dict[str, Any] = {
        "nodes": sorted(str(path) for path in Path("/dev").glob("nvidia*")),
        "variable": os.environ["CUDA_VISIBLE_DEVICES"],
        "devices": 0,
    }
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {**seen, "error": str(error)}
    seen["init"] = cuda.cuInit(0)
    count = ctypes.c_int(0)
    if seen["init"] == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0:
        seen["devices"] = count.value
    return seen


@app.function(gpu=os.environ.get("EMBER_TEST_GPU"), memory="4GB")
def with_gpu() -> dict[str, Any]:
    """Look from a container with one device."""
    return _look()


@app.function(memory="4GB")
def without_gpu() -> dict[str, Any]:
    """Look from a container with none."""
    return _look()
