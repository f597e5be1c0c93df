"""Each way in which user code may end badly. `kind` "none" is the call that must go unharmed."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import ember

app = ember.App("failures")


class Unhappy(Exception):
    """An exception of the user's own."""


class Mute(Exception):
    """An exception that fails at its own text."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        if self.kind == "mute":
            raise RuntimeError("no words")
        return None  # pyright: ignore[reportReturnType]


def deep(kind: str) -> None:
    if kind in ("mute", "no_text"):
        raise Mute(kind)
    if kind == "key":
        raise KeyError("k")
    if kind == "raise":
        raise Unhappy("no luck today")
    if kind == "sys_exit":
        sys.exit(3)
    if kind == "os_exit":
        os._exit(7)
    if kind == "segfault":
        ctypes.string_at(0)


@app.function(max_containers=1)
def fail(kind: str) -> str:
    deep(kind)
    return "unharmed"


@app.function(max_containers=1, timeout=1)
def loop(forever: bool) -> str:
    while forever:
        pass
    return "unharmed"


@app.function(max_containers=1, timeout=1)
def stubborn(forever: bool) -> str:
    """Holds on to whatever is raised in it."""
    while forever:
        try:
            time.sleep(0.01)
        except BaseException:
            continue
    return "unharmed"


@app.function(max_containers=1, memory=128)
def eat(mebibytes: int) -> int:
    return len(bytearray(os.urandom(1) * (mebibytes << 20))) >> 20


@app.function()
def unserializable() -> object:
    return sys.stdout
