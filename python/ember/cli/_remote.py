"""A command in a container, on this terminal: bytes both ways, its size, and its exit status.

The protocol is that of docs/reference/http.md. The server is always read, also while the terminal
or pipe here takes nothing, so that it is answered: what it may send ahead is bounded by a window.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import contextmanager

from ember import _json
from ember._client import quote, shared
from ember._websocket import BYTES, TEXT, Broken
from ember.exception import from_error_body

from . import _terminal
from ._exit import platform_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ember._websocket import WebSocket

_WINDOW_BYTES = 256 << 10
_TAKEN_STEP = 32 << 10
_READ_BYTES = 16 << 10
_WRITE_BYTES = 4 << 10  # what a pipe that takes anything takes without waiting
_SILENCE_S = 60.0  # the server says something every 15
_SIGNALLED = 128
_KILLED = 9


class _Ended(BaseException):
    """A signal asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = _SIGNALLED + number


def is_interactive() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def run(container: str, command: Sequence[str], *, with_terminal: bool) -> int:
    """Run a command in a container to its end; its exit status."""
    _terminal.flush()
    socket = shared().open_messages(f"/api/v1/containers/{quote(container)}/exec")
    start: dict[str, Any] = {"command": list(command)}
    if with_terminal:
        rows, columns = _size()
        kind = os.environ.get("TERM", "dumb")
        start["terminal"] = {"rows": rows, "columns": columns, "type": kind}
    try:
        socket.send(TEXT, _json.dumps(start).encode())
        with _signals() as wake, _raw(with_terminal):
            return _Session(socket, wake, with_terminal).run()
    except Broken as error:
        raise platform_error(
            f"the connection to the server broke: {error}", next_step="ember container list"
        ) from error
    except _Ended as ended:
        return ended.status
    finally:
        socket.close()


class _Session:
    def __init__(self, socket: WebSocket, wake: int, with_terminal: bool) -> None:
        self._socket = socket
        self._wake = wake
        self._with_terminal = with_terminal
        self._stdin = sys.stdin.fileno()
        self._input_open = True
        self._allowed = _WINDOW_BYTES  # to be sent
        self._pending = {1: bytearray(), 2: bytearray()}  # for stdout and stderr
        self._taken = 0  # of what came, and the server not yet told
        self._end: dict[str, Any] | None = None
        self._heard_s = time.monotonic()

    def run(self) -> int:
        while self._end is None or any(self._pending.values()):
            self._turn()
        if "error" in self._end:
            raise from_error_body(self._end["error"])
        if self._end.get("signal") == _KILLED:
            why = "its container has ended" if self._end["container_ended"] else "it was killed"
            _terminal.say(f"{why} (signal {_KILLED})")
        return self._end["exit"]

    def _turn(self) -> None:
        reads: list[Any] = [self._wake]
        if self._end is None:
            reads.append(self._socket)
            if self._input_open and self._allowed > 0:
                reads.append(self._stdin)
        writes = [number for number, waiting in self._pending.items() if waiting]
        wait_s = 0.0 if self._end is None and self._socket.has_unread() else 5.0
        readable, writable, _ = select.select(reads, writes, [], wait_s)
        for number in writable:
            self._write(number)
        if self._wake in readable:
            self._on_signal()
        if self._end is None and (self._socket in readable or self._socket.has_unread()):
            self._receive()
        if self._stdin in readable and self._end is None:
            self._read_input()
        if self._end is None and time.monotonic() - self._heard_s > _SILENCE_S:
            raise Broken("not a word came from it for a minute")

    def _receive(self) -> None:
        self._heard_s = time.monotonic()
        for kind, payload in self._socket.receive():
            if kind == BYTES:
                self._pending[payload[0]] += memoryview(payload)[1:]
                continue
            document = _json.loads(payload)
            if "exit" in document or "error" in document:
                self._end = document
            self._allowed += document.get("taken", 0)
        if self._socket.closed and self._end is None:
            raise Broken("it ended the session without a word")

    def _write(self, number: int) -> None:
        waiting = self._pending[number]
        try:
            written = os.write(number, waiting[:_WRITE_BYTES])
        except BlockingIOError:
            return
        del waiting[:written]
        self._taken += written
        if self._end is None and (self._taken >= _TAKEN_STEP or not any(self._pending.values())):
            self._say({"taken": self._taken})
            self._taken = 0

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, min(self._allowed, _READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            data = b""  # the terminal has gone
        if data:
            self._allowed -= len(data)
            self._socket.send(BYTES, data)
        else:
            self._input_open = False
            self._say({"end_of_input": True})

    def _on_signal(self) -> None:
        """The window's size has changed; all others have ended this."""
        os.read(self._wake, 4096)
        if self._with_terminal:
            rows, columns = _size()
            self._say({"resize": {"rows": rows, "columns": columns}})

    def _say(self, document: dict[str, Any]) -> None:
        self._socket.send(TEXT, _json.dumps(document).encode())


def _size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 24, 80
    return size.lines or 24, size.columns or 80


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that wakes at signals; those that end processes raise."""
    import signal

    def end(number: int, _frame: object) -> None:
        raise _Ended(number)

    reads, writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wakeup = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    ours: dict[int, Any] = {signal.SIGWINCH: lambda _number, _frame: None}
    ours.update(dict.fromkeys((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), end))
    before = {number: signal.signal(number, handler) for number, handler in ours.items()}
    try:
        yield reads
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reads)
        os.close(writes)


@contextmanager
def _raw(wanted: bool) -> Iterator[None]:
    """Keys go to the other side as they are, Ctrl-C too; the terminal is as before afterwards."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
