"""What user code prints, sent as Log frames that name the input that printed it.

sys.stdout and sys.stderr are writers that know the current input. What goes around them, from C
code and from subprocesses, is read from pipes that take the places of descriptors 1 and 2.
"""

from __future__ import annotations

import io
import os
import select
import sys
from _thread import allocate_lock, start_new_thread

from ember import _context
from ember._context import current
from ember.runner._outbox import MAX_TEXT_BYTES, Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ember._context import InputKey
    from ember.runner._frames import Link

_MAX_BEGUN = 32 << 10  # characters or bytes of a line that wait for its end
_PIPE_BYTES = 1 << 20
_READ_BYTES = 64 << 10
_READS_AT_ONCE = 32  # of what never stops coming
_LATER_MS = 50  # until a line without an end, or what is held, is looked at again
_NOBODY = (0, 0, 0)
_F_SETPIPE_SZ = 1031

# Lines that have begun, by stream and input. Looked at after every input: mostly empty.
pending: dict[tuple[int, InputKey], str] = {}


class Writer(io.TextIOBase):
    """The text stream that takes the place of sys.stdout (1) or sys.stderr (2)."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    errors = "backslashreplace"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    line_buffering = True

    def __init__(self, stream: int, logs: Logs) -> None:
        self._stream = stream
        self._outbox = logs.outbox
        self.buffer = _Bytes(self)
        self.name = "<stdout>" if stream == 1 else "<stderr>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        place = (self._stream, current.get(None) or current_key())
        end = text.rfind("\n") + 1
        with self._outbox.lock:
            begun = pending.pop(place, "")
            if not end and len(begun) + len(text) <= _MAX_BEGUN:
                pending[place] = begun + text
            else:
                end = end or len(text)
                if end < len(text):
                    pending[place] = text[end:]
                self._emit(place[1], begun + text[:end])
        return len(text)

    def flush(self) -> None:
        self.finish(current_key())

    def finish(self, key: InputKey) -> None:
        """Sends the line that the input has begun, if any."""
        with self._outbox.lock:
            begun = pending.pop((self._stream, key), "")
            if begun:
                self._emit(key, begun)

    def _emit(self, key: InputKey, text: str) -> None:
        begin = 0
        while begin < len(text):  # a text may be larger than what memory has room for once more
            limit = begin + _MAX_BEGUN
            end = len(text) if limit >= len(text) else text.rfind("\n", begin, limit) + 1 or limit
            data = text[begin:end].encode("utf-8", "backslashreplace")
            for piece in (data,) if len(data) <= MAX_TEXT_BYTES else _pieces(data):
                self._outbox.add(self._stream, key, piece)
            begin = end


class _Bytes(io.RawIOBase):
    """sys.stdout.buffer: bytes written here are text of the same stream."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fileno()

    def write(self, data: object) -> int:
        data = bytes(data)  # pyright: ignore[reportArgumentType]
        self._writer.write(data.decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        self._writer.flush()


def current_key() -> InputKey:
    """The input whose output this is: of this context, else the only one that runs."""
    key = current.get(None)
    if key is None and _context.runner is not None:
        key = _context.runner.sole_input()
    return key or _NOBODY


class Logs:
    """Both writers, and the pipes behind descriptors 1 and 2 once they are captured."""

    def __init__(self, link: Link) -> None:
        self.outbox = Outbox(link)
        self._link = link
        self._writers = (Writer(1, self), Writer(2, self))
        self._original_stderr = os.dup(2)  # what the node keeps the last lines of
        self._pipes: dict[int, int] = {}  # the stream that each is of
        self._begun: dict[int, bytes] = {}  # a line read from a pipe without its end
        self._pipe_lock = allocate_lock()
        self._ready = select.poll()
        sys.stdout, sys.stderr = self._writers
        os.register_at_fork(after_in_child=_write_plainly)

    def finish_input(self, key: InputKey) -> None:
        """Sends the lines that the input has begun, so that they precede its answer."""
        for writer in self._writers:
            writer.finish(key)
        if (0, key) in pending:  # no stream of ours: the input has told how far it is
            from ember.runner import _progress

            _progress.finish(key)

    def held_back(self) -> list[bytes]:
        """Frames that could not leave when they were written: to be sent before an answer."""
        outbox = self.outbox
        return outbox.take() if outbox.waiting or outbox.unpaid else []

    def drain(self) -> list[bytes]:
        """Reads what has been written to the descriptors; gives what can't leave by itself."""
        with self._pipe_lock:  # the other thread has sent what it read
            for reader, _ in self._ready.poll(0):
                reads = 0
                while self._read(reader) and reads < _READS_AT_ONCE:
                    reads += 1
            if self._begun:
                self._send_begun()
        return self.held_back()

    def capture_descriptors(self) -> None:
        """Puts pipes in the places of descriptors 1 and 2, and a thread at their other ends."""
        for stream in (1, 2):
            reader, writer = os.pipe()
            _widen(writer)
            os.dup2(writer, stream)
            os.close(writer)
            os.set_blocking(reader, False)
            self._pipes[reader] = stream
            self._ready.register(reader, select.POLLIN)
        woken, wake = os.pipe()
        self.outbox.on_wait = lambda: os.write(wake, b"\0")
        start_new_thread(self._work, (woken,))

    def give_up(self, text: str) -> None:
        """Writes where the node looks when a process has ended."""
        os.write(self._original_stderr, text.encode())

    def close(self) -> None:
        """Sends all there is, as far as the server takes it: the process is to end."""
        for _, key in tuple(pending):
            self.finish_input(key)
        frames = self.drain() + self.outbox.take(all=True)
        for data in frames:
            if not self._link.try_send(data):
                self._link.wait_writable(1000)
                if not self._link.try_send(data):
                    return

    def _work(self, woken: int) -> None:
        """Sends what comes from the pipes, and later what is held."""
        ready = select.poll()
        for reader in (*self._pipes, woken):
            ready.register(reader, select.POLLIN)
        outbox, link, socket = self.outbox, self._link, -1
        while True:
            later = outbox.waiting or outbox.unpaid or self._begun
            events = ready.poll(_LATER_MS if later else None)
            if socket >= 0:
                ready.unregister(socket)
            for reader, event in events:
                if reader == woken:
                    os.read(woken, 1)
                elif reader in self._pipes and event & select.POLLIN:
                    with self._pipe_lock:
                        self._read(reader)
                elif reader in self._pipes:
                    ready.unregister(reader)  # user code has closed all other ends
            if self._begun and not events:
                with self._pipe_lock:
                    self._send_begun()
            socket = -1
            if (outbox.waiting or outbox.unpaid) and not outbox.send() and not link.is_lost:
                socket = link.socket.fileno()
            if socket >= 0:
                ready.register(socket, select.POLLOUT)

    def _read(self, reader: int) -> bool:
        """Sends the lines that have come; whether there may be more."""
        try:
            read = os.read(reader, _READ_BYTES)
        except BlockingIOError:
            return False  # the other thread was faster
        data = self._begun.pop(reader, b"") + read
        end = data.rfind(b"\n") + 1
        if len(data) - end > _MAX_BEGUN:
            end = len(data)
        elif end < len(data):
            self._begun[reader] = data[end:]
        self._add(reader, data[:end])
        return bool(read)

    def _send_begun(self) -> None:
        while self._begun:
            self._add(*self._begun.popitem())

    def _add(self, reader: int, data: bytes) -> None:
        key = current_key()
        for piece in _pieces(data):
            self.outbox.add(self._pipes[reader], key, piece)


def _pieces(data: bytes) -> Iterator[bytes]:
    """The text in pieces of one frame each, cut between lines or, if need be, characters."""
    begin = 0
    while len(data) - begin > MAX_TEXT_BYTES:
        limit = begin + MAX_TEXT_BYTES
        end = data.rfind(b"\n", begin, limit) + 1
        if not end:
            end = next((i for i in range(limit, limit - 4, -1) if data[i] & 0xC0 != 0x80), limit)
        yield data[begin:end]
        begin = end
    if begin < len(data):
        yield data[begin:]


def _widen(pipe: int) -> None:
    """Makes it less likely that C code fills the pipe while it keeps our thread from running."""
    import fcntl

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # over the user's limit: the usual 64 KiB will do


def _write_plainly() -> None:
    """In a forked child: the frames' socket is the parent's, the descriptors lead there too."""
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
