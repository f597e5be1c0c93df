"""One web request and its answer: heads, and pieces no further ahead than a window, each way.

Heads are those of HTTP/1.1: src/gateway/forwarded_head.h writes them, answer_head.h reads them. All
of it is for the event loop's thread.
"""

from __future__ import annotations

import asyncio
from _collections import deque

from ember.exception import InputCancelled
from ember.runner._frames import CREDIT_BODY, NONE, ROOM, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from ember._context import InputKey
    from ember.runner._streams import Window

    Headers = list[tuple[bytes, bytes]]

PIECE_BYTES = 64 << 10
_TOLD_BYTES = 64 << 10  # of what was taken before the server is told
_PROTOCOLS = (b"http", b"https")


class Inflow:
    """What follows a request's head. Begins when the head comes: before anybody wants it."""

    def __init__(self, send: Callable[[bytes], None], key: InputKey) -> None:
        self._send = send
        self._key = key
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._lost = False
        self._untold_bytes = 0
        self._wanted: asyncio.Future[None] | None = None

    def add(self, piece: bytes) -> None:
        """A piece has come; an empty one is the end."""
        if piece:
            self._pieces.append(piece)
        else:
            self._ended = True
        self._wake()

    def lose(self) -> None:
        """Nothing follows any more, and nobody waits for an answer."""
        self._lost = True
        self._wake()

    async def receive(self) -> bytes:
        """The next piece; b"" once all has come."""
        while not self._pieces:
            if self._lost:
                raise InputCancelled
            if self._ended:
                return b""
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        piece = self._pieces.popleft()
        self._untold_bytes += len(piece)
        if self._untold_bytes >= _TOLD_BYTES:
            self._tell()
        return piece

    async def receive_while(self, patience_s: float) -> bytes | None:
        """The same; None if nothing comes for so long."""
        try:
            return await asyncio.wait_for(self.receive(), patience_s)
        except asyncio.TimeoutError:
            return None

    def _tell(self) -> None:
        told, self._untold_bytes = self._untold_bytes, 0
        stream, attempt, _ = self._key
        self._send(frame(ROOM, NONE, attempt, stream, CREDIT_BODY.pack(0, told)))

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted.done():
            wanted.set_result(None)


class Exchange:
    """A request that runs, as an app's bridge sees it."""

    def __init__(
        self,
        head: bytes,
        inflow: Inflow,
        window: Window,
        send: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        line, _, fields = head.partition(b"\r\n")
        self.head = head
        self.inflow = inflow
        self.method, self.target, _ = line.decode("latin-1").split(" ")
        self.headers: Headers = [
            (name.lower(), value)
            for name, _, value in (one.partition(b": ") for one in fields.split(b"\r\n") if one)
        ]
        self.answered = False  # its head has left
        self.done = False  # all of it has
        self._window = window
        self._send = send

    def lose(self) -> None:
        """Nobody is there any more: who waits for the client hears of it."""
        self.inflow.lose()
        self._window.lost()

    def value_of(self, name: bytes) -> bytes:
        """The first field of that name, in lower case; b"" for none."""
        return next((value for one, value in self.headers if one == name), b"")

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return any(one in (b"content-length", b"transfer-encoding") for one, _ in self.headers)

    @property
    def is_websocket(self) -> bool:
        """Whether the client asks to go on in WebSocket frames."""
        return self.value_of(b"upgrade") == b"websocket"

    @property
    def scheme(self) -> str:
        """What the client spoke: "http" or "https"."""
        said = self.value_of(b"x-forwarded-proto")
        return said.decode() if said in _PROTOCOLS else "http"

    @property
    def client(self) -> str:
        """The address that the request came from, as the server saw it."""
        return self.value_of(b"x-forwarded-for").rpartition(b",")[2].strip().decode("latin-1")

    @property
    def host(self) -> tuple[str, int]:
        """The name and port that the client asked for."""
        name, _, port = self.value_of(b"host").decode("latin-1").partition(":")
        return name, int(port) if port.isdigit() else (443 if self.scheme == "https" else 80)

    async def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Sends the answer's head."""
        lines = [b"%d\r\n" % status]
        for name, value in headers:
            if b"\r" in value or b"\n" in value or b"\r" in name or b"\n" in name:
                raise ValueError(f"a header field with a line break: {name!r}")
            lines.append(b"%b: %b\r\n" % (name, value))
        await self.answer_as(b"".join(lines))

    async def answer_as(self, head: bytes) -> None:
        """The same, of a head that is written already: its status, and its fields' lines."""
        if self.answered:
            raise RuntimeError("the answer has begun already")
        self.answered = True
        await self._send(head)

    async def finish(self) -> None:
        """Ends the answer: the client has it, whatever the app still does."""
        self.done = True
        await self._send(b"")

    async def send(self, data: bytes) -> None:
        """Sends more of the answer's body, waiting while the client reads slowly."""
        for begin in range(0, len(data), PIECE_BYTES):
            await self._send(bytes(data[begin : begin + PIECE_BYTES]))
