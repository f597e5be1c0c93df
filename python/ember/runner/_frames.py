"""Frames over the runner's socket. src/node/frame.h is the other end.

Reading goes straight into one reusable buffer, with as many frames a system call as have come. A
frame's body is lent from the buffer: it is good until the next receive().
"""

from __future__ import annotations

import _socket as socket  # without the enums of `socket`
import os
import struct
import time
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELLO, READY, FAILED, INPUT, BATCH, RESULT, ERROR, CANCEL, LOG = 1, 2, 3, 4, 5, 7, 8, 9, 10
PING, PONG, CALL, CALL_RESULT, CALL_ERROR, STOP, SECRETS, VOLUME = 13, 14, 15, 16, 17, 18, 19, 20
VARIANT = 21
CHUNK, CREDIT, CALL_CHUNK, CALL_CANCEL = 23, 24, 25, 26
PIECE, ROOM = 30, 31
SHARED, PROGRESS = 32, 33
NONE, JSON, PICKLE, BYTES = 0, 1, 2, 3
FORMAT_MASK = 0x03  # of the format byte
METHOD_SHIFT, METHOD_MASK = 2, 31  # of an Input's: which method of the class it is for
IN_FILE = 0x80

HEADER = struct.Struct("<IBBHQ")
HEADER_BYTES = HEADER.size
_INPUT_HEADER = struct.Struct("<IBBHQQ")  # with the call id that begins an Input's body
_CALL_ID_BYTES = 8
MAX_BODY_BYTES = 256 << 20
MAX_ITEM_BYTES = 16 << 20
CREDIT_BODY = struct.Struct("<II")  # items and bytes that may follow beyond those before
BATCH_BODY = struct.Struct("<I")  # how many of the inputs that follow run together

_unpack = _INPUT_HEADER.unpack_from
_BUFFER_BYTES = 256 << 10
_KEPT_BUFFER_BYTES = 16 << 20  # a larger one is given back once it is empty
_MAX_FILES = 16  # descriptors that come with one read
_FILES_SPACE = socket.CMSG_SPACE(_MAX_FILES * 4)
_FIRST_RETRY_S, _LAST_RETRY_S = 0.01, 0.5
_LARGE_BYTES = 128 << 10


class ConnectionLost(Exception):
    """The server went away."""


class ProtocolError(Exception):
    """The server sent what isn't the protocol."""


# Type, format, attempt, stream, call id (of an Input), and the body's begin and end, without
# the call id.
Frame = tuple[int, int, int, int, int, int, int]


def frame(kind: int, format: int, attempt: int, stream: int, body: bytes) -> bytes:
    """A whole frame."""
    return HEADER.pack(len(body), kind, format, attempt, stream) + body


class Link:
    """The connection to the server: made again, for as long as it takes, when it is lost."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: list[int] = []
        self._send_lock = allocate_lock()
        self._behind = False  # send_some() has left a rest, which comes before anything else
        self.is_lost = False  # as far as sending has found
        self.socket = _new_socket()
        self._forget_received()

    def connect(self, hello: bytes) -> None:
        """Waits for the server, however long it takes, and greets it."""
        pause_s = _FIRST_RETRY_S
        while not self.try_connect(hello):
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_RETRY_S)

    def try_connect(self, hello: bytes) -> bool:
        """A fresh connection, greeted, if the server is there."""
        fresh = _new_socket()
        try:
            fresh.connect(self._path)
            fresh.sendall(hello)
        except OSError:
            fresh.close()
            return False
        # Only now for other threads: what they send must not come before the greeting.
        with self._send_lock:
            lost, self.socket = self.socket, fresh
            self._behind = self.is_lost = False
        lost.close()
        self._forget_received()
        return True

    def send(self, *parts: bytes) -> None:
        """Sends frames, waiting while the server reads slowly. For any thread."""
        with self._send_lock:
            try:
                if len(parts) > 1 and sum(map(len, parts)) <= _LARGE_BYTES:
                    self.socket.sendall(b"".join(parts))
                    return
                for part in parts:
                    self.socket.sendall(part)
            except OSError:
                raise ConnectionLost from None
            finally:
                self._behind = False

    def send_in_turn(self, data: bytes) -> bool:
        """Sends a frame, waiting, unless the rest of another one comes first."""
        with self._send_lock:
            if self._behind:
                return False
            try:
                self.socket.sendall(data)
            except OSError:
                raise ConnectionLost from None
            return True

    def send_some(self, data: memoryview) -> memoryview:
        """Sends what the socket takes at once. The rest is for the caller to send, soon."""
        with self._send_lock:
            try:
                sent = self.socket.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                raise ConnectionLost from None
            self._behind = sent < len(data)
            return data[sent:]

    def try_send(self, data: bytes) -> bool:
        """Sends a frame of at most 32 KiB if the socket takes it at once. Never waits."""
        if not self._send_lock.acquire(False):
            return False
        try:
            if self._behind:
                return False
            sent = self.socket.send(data, socket.MSG_DONTWAIT)
            if sent < len(data):  # not on Linux, which takes so little whole or not at all
                self.socket.sendall(data[sent:])
            return True
        except BlockingIOError:
            return False
        except OSError:
            self.is_lost = True
            return False
        finally:
            self._send_lock.release()

    def wait_writable(self, timeout_ms: int) -> None:
        """Returns when the socket takes more, or after the time; at once if it is lost."""
        import select

        ready = select.poll()
        try:
            ready.register(self.socket, select.POLLOUT)
        except ValueError:
            return  # closed just now, in favour of a fresh one
        ready.poll(timeout_ms)

    def receive(self, flags: int = 0) -> bool:
        """Reads what has come, waiting for it unless the flags say otherwise; False for nothing."""
        self._make_room()
        try:
            size, ancillary, _, _ = self.socket.recvmsg_into(
                (self._view[self._end : -_CALL_ID_BYTES],),
                _FILES_SPACE,
                flags | socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            return False
        except OSError:
            raise ConnectionLost from None
        if size == 0:
            raise ConnectionLost
        for _, _, data in ancillary:
            self._files.extend(struct.unpack(f"{len(data) // 4}i", data))
        self._end += size
        return True

    def next_frame(self) -> Frame | None:
        """The next frame that has wholly come, if any. It counts as read."""
        begin = self._begin + HEADER_BYTES
        if begin > self._end:
            return None
        # For other types the call id is what happens to follow: the buffer has room behind it.
        length, kind, format, attempt, stream, call_id = _unpack(self._buffer, self._begin)
        end = begin + length
        if end > self._end:
            if length > MAX_BODY_BYTES:
                raise ProtocolError(f"a frame of {length} bytes")
            return None
        self._begin = end
        if kind == INPUT:
            begin += _CALL_ID_BYTES
        return kind, format, attempt, stream, call_id, begin, end

    def unread_cancels(self) -> list[tuple[int, int]]:
        """The (input, attempt) of Cancel frames that have come and aren't read yet."""
        found, begin = [], self._begin
        while begin + HEADER_BYTES <= self._end:
            length, kind, _, attempt, stream = HEADER.unpack_from(self._buffer, begin)
            if kind == CANCEL:
                found.append((stream, attempt))
            begin += HEADER_BYTES + length
        return found

    def body(self, format: int, begin: int, end: int) -> Any:
        """A body, lent from the buffer or mapped from the file that came with it."""
        return self._mapped() if format & IN_FILE else self._view[begin:end]

    def _mapped(self) -> Any:
        import mmap

        if not self._files:
            raise ProtocolError("a body in a file without the file")
        file = self._files.pop(0)
        try:
            if os.fstat(file).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file, 0, prot=mmap.PROT_READ))
        finally:
            os.close(file)

    def _make_room(self) -> None:
        """Room for the rest of the frame that has begun to come, or for a new one."""
        begun = self._end - self._begin
        wanted = HEADER_BYTES
        if begun >= HEADER_BYTES:
            length = HEADER.unpack_from(self._buffer, self._begin)[0]
            if length > MAX_BODY_BYTES:
                raise ProtocolError(f"a frame of {length} bytes")
            wanted += length
        size = len(self._buffer) - _CALL_ID_BYTES
        if begun == 0 and size <= _KEPT_BUFFER_BYTES:
            self._begin = self._end = 0
        elif self._begin + wanted > size or self._end == size:
            rest = self._view[self._begin : self._end]
            fits = wanted <= size <= _KEPT_BUFFER_BYTES and begun < size
            size = size if fits else max(wanted, _BUFFER_BYTES)
            buffer = bytearray(size + _CALL_ID_BYTES)
            buffer[:begun] = rest
            self._buffer, self._view = buffer, memoryview(buffer)
            self._begin, self._end = 0, begun

    def _forget_received(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES + _CALL_ID_BYTES)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0
        while self._files:
            os.close(self._files.pop(0))


def _new_socket() -> socket.socket:
    fresh = socket.socket(socket.AF_UNIX)
    fresh.settimeout(None)  # whatever default user code has set
    return fresh
