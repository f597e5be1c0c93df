"""The runner's link by itself."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from ember.runner import _frames as frames

CONNECTIONS = 300
HELLO = frames.frame(frames.HELLO, frames.JSON, 0, 0, b"{}")
LOG = frames.frame(frames.LOG, frames.NONE, 1, 1, b"\1line\n")


def test_nothing_goes_out_before_the_greeting(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    link = frames.Link(str(tmp_path / "s"))
    over = threading.Event()

    def print_all_the_time() -> None:
        while not over.is_set():
            try:
                link.send(LOG)
            except frames.ConnectionLost:
                continue

    printing = threading.Thread(target=print_all_the_time)
    printing.start()
    try:
        for _ in range(CONNECTIONS):
            assert link.try_connect(HELLO)
            server, _ = listener.accept()
            with server:
                assert server.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
    finally:
        over.set()
        printing.join()
        listener.close()
        link.socket.close()
