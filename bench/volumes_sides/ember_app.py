"""Reads and writes a volume, for the benchmark."""

import time

import ember

app = ember.App("bench-volumes")
volume = ember.Volume.from_name("bench")
_CHUNK_BYTES = 1 << 20


@app.function(volumes={"/data": volume}, memory=1024, timeout=600)
def read(path: str) -> float:
    """Reads a file from its beginning to its end: how long that took."""
    buffer = bytearray(_CHUNK_BYTES)
    began_s = time.perf_counter()
    with open(f"/data/{path}", "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began_s


@app.function(volumes={"/data": volume}, memory=1024, timeout=600)
def change(path: str) -> float:
    """Writes one small file and commits it: how long the commit took."""
    with open(f"/data/{path}", "w") as file:
        file.write(str(time.time()))
    began_s = time.perf_counter()
    volume.commit()
    return time.perf_counter() - began_s
