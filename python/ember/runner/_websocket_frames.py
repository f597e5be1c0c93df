"""WebSocket frames (RFC 6455) as a server reads and writes them."""

from __future__ import annotations

from ember._websocket import masked

TEXT, BYTES, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_MORE = 0
_MAX_MESSAGE_BYTES = 16 << 20
_MAX_CONTROL_BYTES = 125
_PROTOCOL_ERROR, _NOT_UTF8, _TOO_LARGE = 1002, 1007, 1009
_NEVER_SENT = (1004, 1005, 1006, 1015)  # codes that no frame may have


class Broken(Exception):
    """The client broke the protocol; the code is what it is told."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, payload: bytes) -> bytes:
    """A whole message, or a control frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | kind, size))
    elif size < 1 << 16:
        head = bytes((0x80 | kind, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, 127)) + size.to_bytes(8, "big")
    return head + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """The last frame."""
    if code in _NEVER_SENT:
        return frame(CLOSE, b"")
    return frame(CLOSE, code.to_bytes(2, "big") + reason[: _MAX_CONTROL_BYTES - 2])


class Reader:
    """Bytes in, messages and control frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()  # of frames whose last one is yet to come
        self._kind = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> tuple[int, bytes] | None:
        """The next message (TEXT or BYTES), CLOSE, PING or PONG, if one has wholly come."""
        while (found := self._next_frame()) is not None:
            first, payload = found
            kind = first & 0x0F
            if kind in (CLOSE, PING, PONG):
                return kind, payload
            if (message := self._join(first, payload)) is not None:
                return message
        return None

    def _join(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        kind = first & 0x0F
        if (kind == _MORE) != bool(self._kind):
            raise Broken(_PROTOCOL_ERROR, "the client sent frames out of order")
        self._kind = self._kind or kind
        if len(self._message) + len(payload) > _MAX_MESSAGE_BYTES:
            raise Broken(_TOO_LARGE, "the client sent a message of more than 16 MiB")
        self._message += payload
        if not first & 0x80:
            return None
        kind, message = self._kind, bytes(self._message)
        self._message, self._kind = bytearray(), 0
        if kind == TEXT:
            _check_utf8(message)
        return kind, message

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        _check_head(buffer[0], buffer[1])
        size, begin = buffer[1] & 0x7F, 2
        if size >= 126:
            begin = 4 if size == 126 else 10
            if len(buffer) < begin:
                return None
            size = int.from_bytes(buffer[2:begin], "big")
        if size > _MAX_MESSAGE_BYTES:
            raise Broken(_TOO_LARGE, "the client sent a frame of more than 16 MiB")
        end = begin + 4 + size
        if len(buffer) < end:
            return None
        first, mask = buffer[0], bytes(buffer[begin : begin + 4])
        payload = masked(bytes(buffer[begin + 4 : end]), mask)
        del buffer[:end]
        return first, payload


def _check_head(first: int, second: int) -> None:
    kind = first & 0x0F
    is_control = kind >= CLOSE
    known = kind in (_MORE, TEXT, BYTES, CLOSE, PING, PONG)
    fits = not is_control or (first & 0x80 and second & 0x7F <= _MAX_CONTROL_BYTES)
    if first & 0x70 or not second & 0x80 or not known or not fits:
        raise Broken(_PROTOCOL_ERROR, "the client sent what is no frame of a client's")


def _check_utf8(message: bytes) -> None:
    try:
        message.decode("utf-8")
    except UnicodeDecodeError:
        raise Broken(_NOT_UTF8, "the client sent a text that is not UTF-8") from None
