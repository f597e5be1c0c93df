"""What of the machine's an attempt is led to; made for the tests, and harmless to reach."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server


@dataclass
class Surroundings:
    marker: Path  # a file that everybody may read
    process: int
    abstract: str  # a Unix socket
    path: Path  # another one
    port: int  # on the loopback
    api_port: int  # the server's, there too
    shared_memory: int
    key: Path  # the server's
    other_socket: Path  # the runner's of another container


@contextlib.contextmanager
def surroundings_of(server: Server, here: Path) -> Iterator[Surroundings]:
    """Those of the server's containers, with files in that directory."""
    library = ctypes.CDLL(None, use_errno=True)
    with contextlib.ExitStack() as stack:
        marker = here / "marker"
        marker.write_text("reached")
        sleeper = stack.enter_context(subprocess.Popen(["sleep", "infinity"]))
        stack.callback(sleeper.kill)
        (here / "service").mkdir()
        abstract = f"ember-escape-{uuid.uuid4().hex}"
        for address in (f"\0{abstract}", str(here / "service" / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        (here / "service" / "socket").chmod(0o666)
        loopback = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        key = uuid.uuid4().int & 0x7FFFFFFF | 1  # 0 would be one of nobody else's
        segment = library.shmget(key, 4096, 0o1000 | 0o600)
        assert segment >= 0, os.strerror(ctypes.get_errno())
        stack.callback(library.shmctl, segment, 0, None)
        yield Surroundings(
            marker=marker,
            process=sleeper.pid,
            abstract=abstract,
            path=here / "service" / "socket",
            port=loopback.getsockname()[1],
            api_port=int(server.url.rsplit(":", 1)[1]),
            shared_memory=key,
            key=server.data / "key",
            other_socket=server.data / "node" / "none",
        )
