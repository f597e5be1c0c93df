"""Web servers of any kind: a program that listens on a port of its container's loopback.

Each request is a connection of its own to it, in the bytes of HTTP/1.1 as they came.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from ember.runner._exchange import PIECE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.runner._exchange import Exchange

_HOST = "127.0.0.1"
_LOOK_S = 0.05  # between tries of a program that starts
_HEAD_BYTES = 256 << 10
_SWITCHING, _FIRST_FINAL, _NO_CONTENT, _NOT_MODIFIED = 101, 200, 204, 304


class WebServer:
    """A program as it serves."""

    def __init__(self, port: int, startup_timeout_s: float) -> None:
        self._port = port
        self._startup_timeout_s = startup_timeout_s

    async def start(self) -> None:
        """Waits until the program listens."""
        deadline_s = monotonic() + self._startup_timeout_s
        while not await self._listens():
            if monotonic() > deadline_s:
                raise TimeoutError(
                    f"nothing listens on port {self._port} after {self._startup_timeout_s:g} s: "
                    "have the program listen on 127.0.0.1 or 0.0.0.0, or raise startup_timeout"
                )
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """The program ends with its container."""

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(_HOST, self._port)
        except OSError:
            return False
        writer.close()
        return True

    async def serve(self, exchange: Exchange) -> None:
        try:
            reader, writer = await asyncio.open_connection(_HOST, self._port, limit=_HEAD_BYTES)
        except OSError as error:
            raise ConnectionError(f"the program on port {self._port} is gone: {error}") from None
        upload: asyncio.Task[None] | None = None
        try:
            writer.write(_request_head(exchange))
            upload = asyncio.get_running_loop().create_task(_upload(exchange, writer))
            await _answer(exchange, reader)
        finally:
            if upload is not None:
                upload.cancel()
            writer.close()


def _request_head(exchange: Exchange) -> bytes:
    """The head as it came, but for what says that the connection ends with the answer."""
    if exchange.is_websocket:
        return exchange.head
    return exchange.head[:-2] + b"Connection: close\r\n\r\n"


async def _upload(exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    """Sends the request's body, or what follows a handshake."""
    chunked = bool(exchange.value_of(b"transfer-encoding"))
    if not exchange.has_body and not exchange.is_websocket:
        return
    try:
        while piece := await exchange.inflow.receive():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
        elif exchange.is_websocket:
            writer.write_eof()
    except OSError:
        return  # it wants no more; its answer says why


async def _answer(exchange: Exchange, reader: asyncio.StreamReader) -> None:
    status, fields = await _read_head(reader)
    while status < _FIRST_FINAL and status != _SWITCHING:
        status, fields = await _read_head(reader)
    await exchange.answer_as(b"%d\r\n%b" % (status, fields))
    has_no_body = status in (_NO_CONTENT, _NOT_MODIFIED) or exchange.method == "HEAD"
    coding = _value_of(fields, b"transfer-encoding").lower()
    length = _value_of(fields, b"content-length")
    if status == _SWITCHING:
        await _pass_until_end(exchange, reader)
    elif has_no_body:
        pass
    elif coding == b"chunked":
        await _pass_chunks(exchange, reader)
    elif length and not coding:
        await _pass_exactly(exchange, reader, int(length))
    else:
        await _pass_until_end(exchange, reader)
    exchange.done = True


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise ConnectionError(f"the program gave no answer: {error}") from None
    line, _, fields = head[:-2].partition(b"\r\n")
    words = line.split(b" ", 2)
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ConnectionError(f"the program's answer is not HTTP: {line[:80]!r}")
    return int(words[1]), fields


def _value_of(fields: bytes, wanted: bytes) -> bytes:
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == wanted:
            return value.strip()
    return b""


async def _pass_until_end(exchange: Exchange, reader: asyncio.StreamReader) -> None:
    while piece := await reader.read(PIECE_BYTES):
        await exchange.send(piece)


async def _pass_exactly(exchange: Exchange, reader: asyncio.StreamReader, size: int) -> None:
    while size > 0:
        piece = await reader.read(min(size, PIECE_BYTES))
        if not piece:
            raise ConnectionError("the program's answer ended in its middle")
        size -= len(piece)
        await exchange.send(piece)


async def _pass_chunks(exchange: Exchange, reader: asyncio.StreamReader) -> None:
    while True:
        line = await reader.readline()
        size = int(line.partition(b";")[0] or b"-", 16)
        if size == 0:
            return  # trailers go no further
        await _pass_exactly(exchange, reader, size)
        await reader.readexactly(2)
