"""HTTP/1.1 over one socket: as much of it as our own server speaks, and quick to import.

`http.client` brings the email package with it, which costs more than a whole command may take.
A Connection is used by one thread at a time; `_client` keeps the idle ones.
"""

from __future__ import annotations

import _socket as socket  # `socket` brings selectors and enums
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_CHUNK_BYTES = 256 << 10
_MAX_HEAD_BYTES = 64 << 10
_CONNECT_TIMEOUT_S = 10.0


class ProtocolError(Exception):
    """The other side doesn't speak HTTP as we know it, or hung up in the middle of an answer."""


class FilePart:
    """A body that is a part of an open file; the kernel takes it from there where it can."""

    __slots__ = ("file", "offset", "size_bytes")

    def __init__(self, file: int, offset: int, size_bytes: int) -> None:
        self.file = file
        self.offset = offset
        self.size_bytes = size_bytes


class Connection:
    """One connection that is kept alive between requests."""

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        self._socket: Any = _connected(host, port)
        self._tls = tls
        if tls:
            import socket as full
            import ssl

            self._socket = ssl.create_default_context().wrap_socket(
                full.socket(fileno=self._socket.detach()), server_hostname=host
            )
        self._buffer = b""
        self._remaining: int | None = 0  # of the body now read; None: in chunks
        self.reusable = False

    def close(self) -> None:
        self._socket.close()

    def detach(self) -> tuple[Any, bytes]:
        """The socket, for who goes on with it in another protocol, and what has come by it."""
        return self._socket, self._take()

    def is_stale(self) -> bool:
        """Whether the server has closed it (or sent what nobody asked for) while it was idle."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, head: str, body: Sequence[bytes], timeout_s: float | None) -> None:
        self._socket.settimeout(timeout_s)
        small = sum(map(len, body)) <= _CHUNK_BYTES
        parts = [b"".join((head.encode("latin-1"), *body))] if small else [head.encode(), *body]
        for part in parts:
            self._socket.sendall(part)

    def send_file(self, head: str, body: FilePart) -> None:
        """Without a time limit. EOFError: the file has become shorter."""
        self._socket.settimeout(None)
        self._socket.sendall(head.encode("latin-1"))
        at, end = body.offset, body.offset + body.size_bytes
        while at < end:
            if self._tls:
                piece = os.pread(body.file, min(_CHUNK_BYTES, end - at), at)
                self._socket.sendall(piece)
                sent = len(piece)
            else:
                sent = os.sendfile(self._socket.fileno(), body.file, at, end - at)
            if sent == 0:
                raise EOFError
            at += sent

    def read_head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers (names in lower case) of the answer."""
        while True:
            lines = self._read_head_lines()
            status = int(lines[0].split(" ", 2)[1])
            if status >= 200 or status == 101:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self.reusable = headers.get("connection", "").lower() != "close"
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._remaining = None
        elif "content-length" in headers:
            self._remaining = int(headers["content-length"])
        else:
            self._remaining = 0 if status in (101, 204, 304) else -1
            self.reusable = self.reusable and self._remaining == 0
        return status, headers

    def read_body(self) -> Iterator[bytes]:
        """The pieces of the body as they come."""
        if self._remaining is None:
            while (size := int(self._read_line().split(b";")[0], 16)) > 0:
                yield from self._read_exactly(size)
                self._read_line()
            while self._read_line():
                pass
        elif self._remaining < 0:
            while piece := self._take() or self._socket.recv(_CHUNK_BYTES):
                yield piece
        else:
            yield from self._read_exactly(self._remaining)

    def _read_head_lines(self) -> list[str]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ProtocolError("the head of the answer is too long")
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not lines[0].startswith("HTTP/1."):
            raise ProtocolError(f"not an HTTP answer: {lines[0][:80]!r}")
        return lines

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _read_exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self._buffer:
                self._fill()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _take(self) -> bytes:
        piece, self._buffer = self._buffer, b""
        return piece

    def _fill(self) -> None:
        data = self._socket.recv(_CHUNK_BYTES)
        if not data:
            raise ProtocolError("the server hung up before the answer ended")
        self._buffer = self._buffer + data if self._buffer else data


def _connected(host: str, port: int) -> Any:
    """A socket that is connected to the first of the host's addresses that answers."""
    failed: OSError | None = None
    # As bytes, where it can be: text would import the idna codec.
    name: Any = host.encode() if host.isascii() else host
    for family, kind, protocol, _, address in socket.getaddrinfo(
        name, port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    raise failed or OSError(f"{host} has no address")
