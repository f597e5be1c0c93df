"""Web endpoints of each kind, without packages: plain ASGI and WSGI apps, and a program."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import ember

app = ember.App("web")
LARGE_BYTES = 64 << 20

_left: list[str] = []
_started: list[str] = []


async def _answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _digest(receive: Any) -> bytes:
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message["body"])
        more = message["more_body"]
    return digest.hexdigest().encode()


async def _large(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(LARGE_BYTES >> 20):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
    await send({"type": "http.response.body"})


async def _wait(name: str) -> None:
    _started.append(name)
    try:
        await asyncio.sleep(3600)
    finally:
        _left.append(name)


async def _chat(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", **{k: message[k] for k in message if k != "type"}})
    _left.append("chat")


async def _serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
    path = scope["path"]
    if scope["type"] == "websocket":
        await _chat(receive, send)
    elif path == "/upload":
        await _answer(send, 200, await _digest(receive))
    elif path == "/large":
        await _large(send)
    elif path == "/wait":
        await _wait(scope["query_string"].decode())
    elif path == "/open":
        _started.append("open")
        await _answer(send, 200, b"")
    elif path == "/notes":
        await _answer(send, 200, repr((_started, _left)).encode())
    elif path == "/headers":
        await _answer(send, 200, repr(scope["headers"]).encode())
    elif path == "/behind":
        await _answer(send, 200, b"done")
        while "open" not in _started:
            await asyncio.sleep(0.01)
        _left.append("behind")
    elif path == "/dies":
        os._exit(3)
    elif path == "/dies-late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        os._exit(3)
    elif path == "/raises":
        raise ValueError("a reason for the logs alone")
    else:
        await _answer(send, 200, b"hello")


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await _serve(scope, receive, send)


@app.function(max_containers=1, scaledown_window=300)
@ember.asgi_app(unauthenticated=True)
def site() -> Callable[..., Awaitable[None]]:
    return _app


@app.function(timeout=1, max_containers=1)
@ember.asgi_app()
def desk() -> Callable[..., Awaitable[None]]:
    """Takes a key, and gives requests a second."""
    return _app


@app.function(max_containers=1, queue_limit=1)
@ember.concurrent(max_inputs=1)
@ember.asgi_app(unauthenticated=True)
def narrow() -> Callable[..., Awaitable[None]]:
    return _app


@app.function()
@ember.wsgi_app(label="web-old", unauthenticated=True)
def old() -> Callable[..., Iterable[bytes]]:
    def serve(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].encode(), b" ", environ["wsgi.input"].read()]

    return serve


@app.function()
@ember.web_server(8000, unauthenticated=True)
def files() -> None:
    os.makedirs("/tmp/files", exist_ok=True)
    with open("/tmp/files/page.html", "w") as file:
        file.write("<p>a page</p>")
    subprocess.Popen([sys.executable, "-m", "http.server", "8000", "-d", "/tmp/files"])


@app.cls()
class Model:
    @ember.enter()
    def load(self) -> None:
        self.weights = b"loaded"

    @ember.method()
    def size(self) -> int:
        return len(self.weights)

    @ember.asgi_app(unauthenticated=True)
    def page(self) -> Callable[..., Awaitable[None]]:
        async def serve(_scope: Any, _receive: Any, send: Any) -> None:
            await _answer(send, 200, self.weights)

        return serve
