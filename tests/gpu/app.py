"""What a container that was granted a GPU sees of the machine's devices, and can do with one."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import cuda
import ember

app = ember.App("gpu-devices")
GPU = os.environ.get("EMBER_TEST_GPU")
CHUNK_BYTES = 256 << 20
SAMPLE_BYTES = 1 << 20  # of every SAMPLE_STRIDE_BYTES
SAMPLE_STRIDE_BYTES = 16 << 20
CANARY = 0xC0FFEE55


def _look() -> dict[str, Any]:
    seen: dict[str, Any] = {
        "nodes": sorted(str(path) for path in Path("/dev").glob("nvidia*")),
        "variable": os.environ["CUDA_VISIBLE_DEVICES"],
        "devices": 0,
    }
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {**seen, "error": str(error)}
    seen["init"] = library.cuInit(0)
    count = ctypes.c_int(0)
    if seen["init"] == 0 and library.cuDeviceGetCount(ctypes.byref(count)) == 0:
        seen["devices"] = count.value
    return seen


@app.function(gpu=GPU, memory="4GB", scaledown_window=2)
def with_gpu() -> dict[str, Any]:
    """Look from a container with one device."""
    return _look()


@app.function(memory="4GB", scaledown_window=2)
def without_gpu() -> dict[str, Any]:
    """Look from a container with none."""
    return _look()


@app.function(gpu=GPU, memory="4GB", scaledown_window=2)
def computes(words: int) -> int:
    """Return how many of `words` words a kernel on the device has made one greater."""
    device = cuda.Device()
    memory = device.allocate(words * 4)
    device.fill(memory, 41, words * 4)
    device.add_one(memory, words)
    return device.read(memory.value, words * 4).count((42).to_bytes(4, "little"))


@app.function(gpu=GPU, memory="4GB", scaledown_window=2)
def faults() -> int:
    """Run a kernel that writes where it may not; return the driver's code for that."""
    device = cuda.Device()
    try:
        device.add_one(ctypes.c_uint64(0), cuda.THREADS)
    except cuda.CudaError as error:
        return error.code
    return 0


def _chunks(device: cuda.Device) -> list[ctypes.c_uint64]:
    """All of the device's free memory."""
    chunks = []
    try:
        while True:
            chunks.append(device.allocate(CHUNK_BYTES))
    except cuda.CudaError:
        return chunks


@app.function(gpu=GPU, memory="4GB", scaledown_window=2)
def writes_canary() -> int:
    """Write a word all over the device's memory; return the bytes written."""
    device = cuda.Device()
    chunks = _chunks(device)
    for chunk in chunks:
        device.fill(chunk, CANARY, CHUNK_BYTES)
    return len(chunks) * CHUNK_BYTES


@app.function(gpu=GPU, memory="4GB", scaledown_window=2)
def finds_canary() -> dict[str, int]:
    """Look for the word in samples of fresh memory; first in one that has it, to show it is found."""
    device = cuda.Device()
    word = CANARY.to_bytes(4, "little")
    chunks = _chunks(device)
    looked, found, not_zero = 0, 0, 0
    for chunk in chunks:
        for offset in range(0, CHUNK_BYTES, SAMPLE_STRIDE_BYTES):
            sample = device.read(chunk.value + offset, SAMPLE_BYTES)
            looked += len(sample)
            found += sample.count(word)
            not_zero += len(sample) - sample.count(0)
    device.fill(chunks[0], CANARY, SAMPLE_BYTES)
    control = device.read(chunks[0].value, SAMPLE_BYTES).count(word)
    return {"looked": looked, "found": found, "not_zero": not_zero, "control": control}
