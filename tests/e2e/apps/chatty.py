"""Containers that write as much as they can, each in a way of its own, and one that does not."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time

import ember

app = ember.App("chatty")

LINE = "x" * 99


@app.function(scaledown_window=600)
def neighbour(n: int) -> int:
    return n + 1


@app.function(scaledown_window=600)
def prints(megabytes: int) -> int:
    """Lines of 100 bytes on both streams; how many."""
    count = megabytes * 10_000
    for i in range(count):
        print(LINE, file=sys.stdout if 2 * i < count else sys.stderr)
    return count


@app.function(scaledown_window=600)
def writes(megabytes: int) -> int:
    """Blocks of a megabyte past Python."""
    block = (LINE.encode() + b"\n") * 10_000
    for _ in range(megabytes):
        os.write(1, block)
    return megabytes * 10_000


@app.function(scaledown_window=600)
def has_a_child(seconds: float) -> None:
    """A process that writes as fast as a pipe takes it."""
    child = subprocess.Popen(["yes", LINE])
    time.sleep(seconds)
    child.kill()
    child.wait()


@app.function(scaledown_window=600)
def speaks_frames(seconds: float, small: bool) -> int:
    """Log frames straight on the runner's socket, whatever a budget says; bytes sent."""
    mine = next(
        socket.socket(fileno=os.dup(int(name)))
        for name in os.listdir("/proc/self/fd")
        if _leads_to_the_server(int(name))
    )
    text = b"\1" + (LINE.encode() + b"\n") * (1 if small else 300)
    head = struct.pack("<IBBHQ", len(text), 10, 0, 0, 0)
    frames = (head + text) * (1000 if small else 4)
    ended = threading.Event()
    threading.Timer(seconds, ended.set).start()
    sent = 0
    while not ended.is_set():
        mine.sendall(frames)
        sent += len(frames)
    return sent


def _leads_to_the_server(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as probe:
            return probe.family == socket.AF_UNIX and bool(probe.getpeername())
    except OSError:
        return False


@app.function(scaledown_window=600)
def says(text: str, times: int = 1) -> None:
    for _ in range(times):
        print(text)


@app.function(scaledown_window=600)
def shows_progress() -> None:
    """Any bytes, a bar of progress, what plays with a terminal, and a long line."""
    os.write(1, b"odd \xff\xfe bytes\n")
    for percent in range(0, 101, 50):
        print(f"\r{percent}%|####", end="", file=sys.stderr, flush=True)
    print("\n\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m nul \x00")
    print("y" * 100_000_000)
    print("half a line", end="")
