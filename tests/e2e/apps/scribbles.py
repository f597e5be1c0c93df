"""Functions whose containers have a disk of their own, larger than their memory."""

from __future__ import annotations

import errno
import os
from typing import Any

import ember

app = ember.App(os.environ.get("SCRIBBLES_APP", "scribbles"))
# Under gVisor where a test says so.
walls: Any = {"isolation": os.environ.get("SCRIBBLES_ISOLATION")}
MIB = 1 << 20


def _write(path: str, size_mib: int) -> int:
    """How many MiB went onto the disk before there was no room."""
    written = 0
    with open(path, "wb", buffering=0) as file:
        try:
            while written < size_mib:
                file.write(b"x" * MIB)
                written += 1
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return written


@app.function(ephemeral_disk="400MiB", memory=128)
def write(path: str, size_mib: int) -> int:
    return _write(path, size_mib)


@app.function(ephemeral_disk="400MiB", memory=128)
def other(path: str, size_mib: int) -> int:
    return _write(path, size_mib)


@app.function(ephemeral_disk="400MiB", **walls)
def sizes() -> dict[str, int]:
    return {
        path: os.statvfs(path).f_blocks * os.statvfs(path).f_frsize // MIB
        for path in ("/", "/tmp", "/root", "/opt")
        if os.makedirs(path, exist_ok=True) is None
    }


@app.function(ephemeral_disk="400MiB")
def modes() -> list[str]:
    return [oct(os.stat(path).st_mode & 0o7777) for path in ("/", "/tmp", "/root")]


@app.function(ephemeral_disk="15TB")
def too_much() -> None:
    pass
