"""WebSockets of ASGI apps: messages for the app, frames for the client."""

from __future__ import annotations

from ember._websocket import accept_of
from ember.runner._websocket_frames import CLOSE, PING, PONG, TEXT, Broken, Reader, close_frame
from ember.runner._websocket_frames import frame as websocket_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ember.runner._exchange import Exchange

    Message = dict[str, Any]

_BYTES = 2
_SILENCE_S = 20.0  # before the client is asked whether it is there
_LOST, _GONE, _REFUSED, _DONE = 1006, 1005, 403, 1000


async def serve(
    app: Callable[..., Awaitable[None]], exchange: Exchange, scope: dict[str, Any]
) -> None:
    """Runs the app for one WebSocket."""
    offered = exchange.value_of(b"sec-websocket-protocol").decode("latin-1")
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if exchange.scheme == "https" else "ws"
    scope["subprotocols"] = [one.strip() for one in offered.split(",") if one.strip()]
    scope["extensions"] = {"websocket.http.response": {}}
    socket = _Socket(exchange)
    await app(scope, socket.receive, socket.send)
    if not exchange.answered:
        await exchange.answer(_REFUSED, [(b"content-length", b"0")])
    elif socket.is_open:
        await exchange.send(close_frame(_DONE))


class _Socket:
    """The receive and send of one WebSocket."""

    def __init__(self, exchange: Exchange) -> None:
        self.is_open = False
        self._exchange = exchange
        self._reader = Reader()
        self._asked = False  # a ping waits for its answer
        self._connected = False
        self._disconnect: Message = {"type": "websocket.disconnect", "code": _LOST, "reason": ""}

    # --- from the client ---

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while self.is_open:
            try:
                found = self._reader.next()
            except Broken as broken:
                await self._end(broken.code, str(broken), told=broken.code)
                break
            if found is None:
                await self._read()
            elif (message := await self._take(*found)) is not None:
                return message
        return self._disconnect

    async def _read(self) -> None:
        piece = await self._exchange.inflow.receive_while(_SILENCE_S)
        if piece:
            self._asked = False
            self._reader.feed(piece)
        elif piece is None and not self._asked:
            self._asked = True
            await self._exchange.send(websocket_frame(PING, b""))
        else:  # it has left, or gives no sign of life
            self.is_open = False

    async def _take(self, kind: int, payload: bytes) -> Message | None:
        if kind == PING:
            await self._exchange.send(websocket_frame(PONG, payload))
        elif kind == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _GONE
            await self._end(code, payload[2:].decode("utf-8", "replace"), told=code)
        elif kind == TEXT:
            return {"type": "websocket.receive", "text": payload.decode("utf-8")}
        elif kind == _BYTES:
            return {"type": "websocket.receive", "bytes": payload}
        return None

    async def _end(self, code: int, reason: str, *, told: int) -> None:
        self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self.is_open = False
        await self._exchange.send(close_frame(told))
        await self._exchange.finish()

    # --- to the client ---

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept" and not self._exchange.answered:
            await self._accept(message)
        elif kind == "websocket.send" and self.is_open:
            text = message.get("text")
            payload = message.get("bytes") if text is None else text.encode()
            await self._exchange.send(
                websocket_frame(_BYTES if text is None else TEXT, payload or b"")
            )
        elif kind == "websocket.close" and not self._exchange.answered:
            await self._exchange.answer(_REFUSED, [(b"content-length", b"0")])
        elif kind == "websocket.close":
            if self.is_open:
                self.is_open = False
                reason = (message.get("reason") or "").encode()
                await self._exchange.send(close_frame(message.get("code", _DONE), reason))
                await self._exchange.finish()
        elif kind == "websocket.http.response.start" and not self._exchange.answered:
            await self._exchange.answer(message["status"], message.get("headers", ()))
        elif kind == "websocket.http.response.body" and not self.is_open:
            await self._exchange.send(message.get("body", b""))
        elif kind != "websocket.send":  # of one that has closed nothing is left to be sent
            raise RuntimeError(f"the ASGI app sent {kind} out of order")

    async def _accept(self, message: Message) -> None:
        key = self._exchange.value_of(b"sec-websocket-key").decode("latin-1")
        headers = [(b"sec-websocket-accept", accept_of(key).encode())]
        if message.get("subprotocol"):
            headers.append((b"sec-websocket-protocol", message["subprotocol"].encode("latin-1")))
        await self._exchange.answer(101, [*headers, *message.get("headers", ())])
        self.is_open = True
