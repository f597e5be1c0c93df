"""ASGI 3 apps: each request's scope, receive and send, and the lifespan around all of them."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

from ember.runner import _asgi_websocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ember.runner._exchange import Exchange

    Message = dict[str, Any]
    App = Callable[..., Awaitable[None]]

_VERSIONS = {"version": "3.0", "spec_version": "2.3"}


class AsgiApp:
    """An app as it serves: started once, then one call for each request."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._lifespan: Lifespan | None = None

    async def start(self) -> None:
        """Its lifespan's startup, where it has one; raises what keeps it from starting."""
        lifespan = Lifespan(self._app, self._state)
        if await lifespan.start():
            self._lifespan = lifespan

    async def stop(self) -> None:
        if self._lifespan is not None:
            await self._lifespan.stop()

    async def serve(self, exchange: Exchange) -> None:
        scope = _scope(exchange, dict(self._state))
        if exchange.is_websocket:
            await _asgi_websocket.serve(self._app, exchange, scope)
            return
        http = _Http(exchange)
        await self._app(scope, http.receive, http.send)
        if not exchange.done:
            raise RuntimeError("the ASGI app returned before its answer was whole")


def _scope(exchange: Exchange, state: dict[str, Any]) -> dict[str, Any]:
    path, _, query = exchange.target.partition("?")
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": exchange.method,
        "scheme": exchange.scheme,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": exchange.headers,
        "client": (exchange.client, 0),
        "server": exchange.host,
        "state": state,
    }


class _Http:
    """The receive and send of one request."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._more = True  # of the body, for receive()
        self._over = asyncio.Event()  # the client has the whole answer

    async def receive(self) -> Message:
        if not self._more:
            # A client that leaves before the answer's end cancels the input, which is raised here.
            await self._over.wait()
            return {"type": "http.disconnect"}
        piece = await self._exchange.inflow.receive() if self._exchange.has_body else b""
        self._more = bool(piece)
        return {"type": "http.request", "body": piece, "more_body": self._more}

    async def send(self, message: Message) -> None:
        exchange = self._exchange
        kind = message["type"]
        if kind == "http.response.start" and not exchange.answered:
            await exchange.answer(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and exchange.answered and not exchange.done:
            await exchange.send(message.get("body", b""))
            if not message.get("more_body", False):
                await exchange.finish()
                self._over.set()
        else:
            raise RuntimeError(f"the ASGI app sent {kind} out of order")


class Lifespan:
    """A call of the app that lasts as long as its container does."""

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Whether the app takes part; raises what it says of a startup that failed."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        answer = await self._ask("lifespan.startup")
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the app's startup failed: {answer.get('message', '')}")
        return answer["type"] == "lifespan.startup.complete"

    async def stop(self) -> None:
        answer = await self._ask("lifespan.shutdown")
        if answer["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the app's shutdown failed: {answer.get('message', '')}")

    async def _ask(self, what: str) -> Message:
        await self._to_app.put({"type": what})
        return await self._from_app.get()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self._state}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        except Exception:
            # An app that knows no lifespan raises at once; one that fails in it has said so.
            pass
        await self._from_app.put({"type": "ended"})
