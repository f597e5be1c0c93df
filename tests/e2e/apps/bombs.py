"""Functions that take all they can get, each of one thing, and one that must not notice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import ember

app = ember.App("bombs")
MEMORY_MB = 128


@app.function(scaledown_window=600)
def neighbour(n: int) -> int:
    return n + 1


@app.function(memory=MEMORY_MB, max_containers=1)
def memory(kind: str) -> None:
    """Ten times what it may have."""
    size = 10 * MEMORY_MB << 20
    if kind == "heap":
        bytearray(os.urandom(1)) * size
    elif kind == "file in memory":
        with os.fdopen(os.memfd_create("bomb"), "wb", buffering=0) as file:
            while file.tell() < size:
                file.write(b"\1" * (1 << 20))
    elif kind == "directories":
        _fill_all(size)
    elif kind == "names":
        _make_files(size)
    elif kind == "pipes":
        _fill_pipes(size)


def _fill_all(size: int) -> None:
    """Each directory has room; all of them together have more than there is memory."""
    with contextlib.ExitStack() as stack:
        for directory in ("/tmp", "/root", "/dev/shm"):
            file = stack.enter_context(open(f"{directory}/bomb", "wb", buffering=0))
            with contextlib.suppress(OSError):
                while file.write(b"\1" * (1 << 20)) and file.tell() < size:
                    pass


def _make_files(size: int) -> None:
    for i in range(size // 256):
        os.close(os.open(f"/tmp/{i:0250}", os.O_CREAT | os.O_WRONLY))


def _fill_pipes(size: int) -> None:
    for _ in range(size >> 16):
        _, writing = os.pipe()
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"\1" * 4096)


@app.function(memory=MEMORY_MB, max_containers=1)
def a_child_s_memory(kind: str) -> int:
    """A program's exit status."""
    mark = "/tmp/there-was-a-child"
    if kind == "stay where it was" and os.path.exists(mark):
        threading.Event().wait()
    if kind != "child":
        return 0
    with open(mark, "w"):
        pass
    script = f"x = bytearray({10 * MEMORY_MB} << 20); [x.__setitem__(i, 1) for i in range(0, len(x), 4096)]"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode


@app.function(memory=512, max_containers=1)
def processes(kind: str) -> None:
    if kind == "none":
        return
    if kind == "threads":
        threading.stack_size(65536)
        end = threading.Event()
        try:
            while True:
                threading.Thread(target=end.wait, daemon=True).start()
        finally:
            end.set()
    while True:
        _fork_one_that_stays()


def _fork_one_that_stays() -> None:
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "3600"])


@app.function(memory=512, max_containers=1, timeout=5)
def processes_without_end(kind: str) -> None:
    """Each makes others, whatever becomes of them."""
    while kind != "none":
        with contextlib.suppress(OSError):
            os.fork()


@app.function(max_containers=1)
def descriptors(kind: str) -> None:
    held: list[object] = []
    while kind != "none":
        held.append(os.open("/dev/zero", os.O_RDONLY) if kind == "files" else os.pipe())


@app.function(memory=MEMORY_MB, max_containers=1)
def disk(kind: str) -> None:
    if kind == "none":
        return
    directory = kind
    with open(f"{directory}/bomb", "wb", buffering=0) as file:
        try:
            for _ in range(10 * MEMORY_MB):
                file.write(b"\1" * (1 << 20))
        finally:
            os.unlink(file.name)
