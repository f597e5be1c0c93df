"""More of the machine than the container was given."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading

from _system import Refused


def start_threads(count: int) -> str:
    """A fork bomb's way in small: tasks are what is limited, and threads are the cheapest."""
    threading.stack_size(65536)
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(count)]
    try:
        for started, thread in enumerate(threads):
            try:
                thread.start()
            except RuntimeError as error:
                raise Refused(f"{error} after {started}") from None
    finally:
        end.set()
    return f"{count} threads"


def fork_processes(count: int) -> str:
    """By a shell, whose processes are small; they end when the pipe does."""
    script = "exec 3<&0; i=0; while [ $i -lt $1 ]; do read x <&3 & echo +; i=$((i + 1)); done"
    reading, writing = os.pipe()
    with os.fdopen(writing, "w"), open("/tmp/started", "w+") as output:
        shell = subprocess.run(
            ["sh", "-c", script, "sh", str(count)], stdin=reading, stdout=output, stderr=output
        )
        output.seek(0)
        started = output.read().count("+")
    if shell.returncode != 0 or started < count:
        raise Refused(f"no more after {started}")
    return f"{count} processes"


def take_memory(size_bytes: int) -> str:
    step = 8 << 20
    held = [bytes([1]) * step for _ in range(size_bytes // step)]
    return f"{len(held) * step} bytes of memory"


def take_memory_by_file(size_bytes: int) -> str:
    """Of a file in memory that has no name."""
    with os.fdopen(os.memfd_create("escape"), "wb", buffering=0) as file:
        for _ in range(size_bytes >> 20):
            file.write(b"\1" * (1 << 20))
    return f"{size_bytes} bytes of memory"


def take_shared_memory(size_bytes: int) -> str:
    """A segment that outlives its process."""
    library = ctypes.CDLL(None, use_errno=True)
    library.shmat.restype = ctypes.c_void_p
    segment = library.shmget(0, ctypes.c_size_t(size_bytes), 0o1600)
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    address = library.shmat(segment, None, 0)
    library.shmctl(segment, 0, None)  # goes with whoever has it
    ctypes.memset(address, 1, size_bytes)
    return f"{size_bytes} bytes of shared memory"


def fill(directory: str, size_bytes: int) -> str:
    path = f"{directory}/fill"
    block = b"\1" * (1 << 20)
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(size_bytes >> 20):
                if file.write(block) < len(block):
                    raise Refused(f"no more room in {directory}")
    finally:
        os.unlink(path)
    return f"{size_bytes} bytes in {directory}"


def fill_machine_by_output(size_bytes: int) -> str:
    """By what its first process's output goes into, if that is a file."""
    output = os.open("/proc/1/fd/1", os.O_WRONLY)
    before = os.fstat(output).st_size
    os.posix_fallocate(output, before, size_bytes)  # at once, and no limit counts it
    os.ftruncate(output, before)
    return f"{size_bytes} bytes of the machine's disk"


def raise_open_files() -> str:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most + 1))
    except ValueError as error:  # Python's word for EPERM here
        raise Refused(str(error)) from None
    return "a limit raised"
