"""What user code prints, sent as Log frames that name the input that printed it.

sys.stdout and sys.stderr are writers that know the current input. What goes around them, from C
code and from subprocesses, is read from pipes that take the places of descriptors 1 and 2.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from _thread import RLock, allocate_lock, start_new_thread

from ember import _context
from ember._context import current
from ember.runner._frames import LOG, NONE, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember._context import InputKey

_MAX_TEXT = 32 << 10  # characters of one frame; longer lines are cut into several
_PIPE_BYTES = 1 << 20
_READ_BYTES = 64 << 10
_NOBODY = (0, 0, 0)
_F_SETPIPE_SZ = 1031

# Lines that have begun, by stream and input. Looked at after every input: mostly empty.
pending: dict[tuple[int, InputKey], str] = {}
_lock = RLock()  # a finaliser may print while its thread prints


class Writer(io.TextIOBase):
    """The text stream that takes the place of sys.stdout (1) or sys.stderr (2)."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    errors = "backslashreplace"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    line_buffering = True

    def __init__(self, stream: int, logs: Logs) -> None:
        self._stream = stream
        self._logs = logs
        self.buffer = _Bytes(self)
        self.name = "<stdout>" if stream == 1 else "<stderr>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        place = (self._stream, current_key())
        with _lock:
            begun = pending.pop(place, "") + text
            end = len(begun) if len(begun) > _MAX_TEXT else begun.rfind("\n") + 1
            if end < len(begun):
                pending[place] = begun[end:]
            if end:
                self._emit(place[1], begun[:end])
        return len(text)

    def flush(self) -> None:
        self.finish(current_key())

    def finish(self, key: InputKey) -> None:
        """Sends the line that the input has begun, if any."""
        with _lock:
            begun = pending.pop((self._stream, key), "")
            if begun:
                self._emit(key, begun)

    def _emit(self, key: InputKey, text: str) -> None:
        for start in range(0, len(text), _MAX_TEXT):
            self._logs.send(log_frame(self._stream, key, text[start : start + _MAX_TEXT]))


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


def log_frame(stream: int, key: InputKey, text: str) -> bytes:
    """One write as a frame."""
    body = bytes((stream,)) + text.encode("utf-8", "backslashreplace")
    return frame(LOG, NONE, key[1], key[0], body)


class Logs:
    """Both writers, and the pipes behind descriptors 1 and 2 once they are captured."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send  # one whole frame, from any thread
        self._writers = (Writer(1, self), Writer(2, self))
        self._original_stderr = os.dup(2)  # what the node keeps the last lines of
        self._pipes: dict[int, tuple[int, codecs.IncrementalDecoder]] = {}
        self._pipe_lock = allocate_lock()
        self._ready = select.poll()
        sys.stdout, sys.stderr = self._writers
        os.register_at_fork(after_in_child=_write_plainly)

    def finish_input(self, key: InputKey) -> None:
        """Sends the lines that the input has begun, so that they precede its answer."""
        for writer in self._writers:
            writer.finish(key)

    def drain(self) -> list[bytes]:
        """What has been written to the descriptors and not been sent yet, as frames."""
        frames: list[bytes] = []
        with self._pipe_lock:  # the other thread has sent what it read
            for reader, _ in self._ready.poll(0):
                frames += self._read(reader)
        return frames

    def capture_descriptors(self) -> None:
        """Puts pipes in the places of descriptors 1 and 2, and a thread at their other ends."""
        make_decoder = codecs.getincrementaldecoder("utf-8")
        for stream in (1, 2):
            reader, writer = os.pipe()
            _widen(writer)
            os.dup2(writer, stream)
            os.close(writer)
            os.set_blocking(reader, False)
            self._pipes[reader] = (stream, make_decoder("replace"))
            self._ready.register(reader, select.POLLIN)
        start_new_thread(self._read_pipes, ())

    def give_up(self, text: str) -> None:
        """Writes where the node looks when a process has ended."""
        os.write(self._original_stderr, text.encode())

    def _read_pipes(self) -> None:
        ready = select.poll()
        for reader in self._pipes:
            ready.register(reader, select.POLLIN)
        while True:
            for reader, _ in ready.poll():
                with self._pipe_lock:
                    for part in self._read(reader):
                        self.send(part)

    def _read(self, reader: int) -> list[bytes]:
        stream, decoder = self._pipes[reader]
        try:
            text = decoder.decode(os.read(reader, _READ_BYTES))
        except BlockingIOError:
            return []  # the other thread was faster
        starts = range(0, len(text), _MAX_TEXT)
        return [log_frame(stream, current_key(), text[i : i + _MAX_TEXT]) for i in starts]


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
