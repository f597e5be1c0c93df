"""Devices that a container was not given."""

from __future__ import annotations

import os
import stat


def _make(kind: int, major: int, minor: int) -> str:
    path = "/tmp/node"
    os.mknod(path, kind | 0o600, os.makedev(major, minor))
    return path


def make_device() -> str:
    return f"{_make(stat.S_IFCHR, 1, 3)}, a device of its own making"


def make_and_open_device() -> str:
    os.close(os.open(_make(stat.S_IFCHR, 1, 5), os.O_RDONLY))
    return "a device, opened"


def make_and_open_memory() -> str:
    os.close(os.open(_make(stat.S_IFCHR, 1, 1), os.O_RDONLY))
    return "the machine's memory"


def make_and_open_disk(major: int, minor: int) -> str:
    os.close(os.open(_make(stat.S_IFBLK, major, minor), os.O_RDONLY))
    return "the machine's disk"


def open_device(path: str) -> str:
    os.close(os.open(path, os.O_RDWR))
    return path


def change_device(path: str) -> str:
    """The devices that every container has are the machine's own."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
    return f"{path} is its to change"
