"""The client's side of WebSocket (RFC 6455), over a connection that an upgrade has left.

As much of it as a conversation with Ember's own server takes. Sending waits until all is sent;
receiving gives what one read brings.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT, BYTES = 1, 2
_MORE, _CLOSE, _PING, _PONG = 0, 8, 9, 10
_READ_BYTES = 256 << 10
_MAX_MESSAGE_BYTES = 16 << 20
_PROTOCOLS_UUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Broken(Exception):
    """The server hung up in the middle, or spoke another protocol."""


def new_key() -> str:
    """A value of Sec-WebSocket-Key."""
    import binascii

    return binascii.b2a_base64(os.urandom(16), newline=False).decode()


def accept_of(key: str) -> str:
    """What a server that speaks the protocol answers to a key."""
    import binascii
    import hashlib

    digest = hashlib.sha1(key.encode() + _PROTOCOLS_UUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


class WebSocket:
    """One conversation. For one thread."""

    def __init__(self, socket: Any, received: bytes) -> None:
        self._socket = socket
        self._socket.settimeout(None)
        self._buffer = bytearray(received)
        self._message = bytearray()  # of frames whose last one is yet to come
        self._kind = 0
        self.closed = False  # by the server, in order

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def has_unread(self) -> bool:
        """Whether something has come that waiting for the descriptor would not tell of."""
        pending = getattr(self._socket, "pending", None)  # of TLS
        return bool(self._buffer) or (pending is not None and pending() > 0)

    def send(self, kind: int, payload: bytes) -> None:
        """Sends a whole message."""
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | kind, 0x80 | size))
        elif size < 1 << 16:
            head = bytes((0x80 | kind, 0x80 | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | kind, 0x80 | 127)) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        try:
            self._socket.sendall(head + mask + masked(payload, mask))
        except OSError as error:
            raise Broken(str(error)) from error

    def receive(self) -> list[tuple[int, bytes]]:
        """The messages that one read completes, as (TEXT or BYTES, payload); answers pings."""
        found = self._parse()  # what came with the head of the answer
        if found or self.closed:
            return found
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise Broken(str(error)) from error
        if not data:
            raise Broken("the server hung up")
        self._buffer += data
        return self._parse()

    def _parse(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            kind, is_last = first & 0x0F, bool(first & 0x80)
            if kind == _PING:
                self.send(_PONG, payload)
            elif kind == _CLOSE:
                self.closed = True
                break
            elif kind in (_MORE, TEXT, BYTES):
                if (kind == _MORE) != bool(self._kind):
                    raise Broken("the server sent frames out of order")
                self._kind = self._kind or kind
                self._message += payload
                if len(self._message) > _MAX_MESSAGE_BYTES:
                    raise Broken("the server sent a message that is too long")
                if is_last:
                    found.append((self._kind, bytes(self._message)))
                    self._message, self._kind = bytearray(), 0
            elif kind != _PONG:
                raise Broken(f"the server sent a frame of kind {kind}")
        return found

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, begin = buffer[1], 2
        if buffer[0] & 0x70 or size & 0x80:
            raise Broken("the server sent what is no frame of a server's")
        if size >= 126:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:begin], "big")
            if size > _MAX_MESSAGE_BYTES and len(buffer) >= begin:
                raise Broken("the server sent a frame that is too long")
        if len(buffer) < begin or len(buffer) < begin + size:
            return None
        payload = bytes(buffer[begin : begin + size])
        first = buffer[0]
        del buffer[: begin + size]
        return first, payload


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload under the mask, or from under it."""
    size = len(payload)
    wide = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(wide, "little")).to_bytes(
        size, "little"
    )
