"""Other processes, containers and networks."""

from __future__ import annotations

import ctypes
import os
import socket
import time

from _system import Refused, call


def signal_process(process: int) -> str:
    os.kill(process, 0)
    return f"it may signal {process}"


def open_process(process: int) -> str:
    os.close(os.pidfd_open(process))
    return f"a descriptor of process {process}"


def read_environment(process: int) -> str:
    with open(f"/proc/{process}/environ") as file:
        return f"{len(file.read())} bytes of its environment"


def read_memory(process: int) -> str:
    os.close(os.open(f"/proc/{process}/mem", os.O_RDWR))
    return f"the memory of process {process}"


def trace_process(process: int) -> str:
    call("ptrace", 0x4206, process, 0, 0)
    return f"it traces {process}"


def set_limit_of_process(process: int) -> str:
    import resource

    resource.prlimit(process, resource.RLIMIT_CORE)
    return f"the limits of {process}"


def change_priority(process: int) -> str:
    os.sched_setaffinity(process, os.sched_getaffinity(process))
    return f"where {process} runs"


def attach_shared_memory(key: int) -> str:
    library = ctypes.CDLL(None, use_errno=True)
    if library.shmget(key, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return "memory that the machine's processes share"


def learn_machine_name(name: str) -> str:
    if os.uname().nodename != name:
        raise Refused("another name")
    return name


def connect_abstract(name: str) -> str:
    socket.socket(socket.AF_UNIX).connect(f"\0{name}")
    return "a service of the machine"


def connect_path(path: str) -> str:
    socket.socket(socket.AF_UNIX).connect(path)
    return "another's socket"


def connect_loopback(port: int) -> str:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return "a service of the machine"


def flood_node(processes: int, seconds: float) -> str:
    """Connections to its own node, faster than that can look at them."""
    deadline = time.monotonic() + seconds
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            while time.monotonic() < deadline:
                with socket.socket(socket.AF_UNIX) as one:
                    one.setblocking(False)
                    one.connect_ex("/ember/run/runner.sock")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return "it has flooded its node"
