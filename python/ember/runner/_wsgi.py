"""WSGI apps: each request on a thread of its own."""

from __future__ import annotations

import asyncio
import io
import sys
from urllib.parse import unquote_to_bytes

from ember.runner._beside import Beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from ember.runner._exchange import Exchange

    Start = Callable[..., Callable[[bytes], object]]
    App = Callable[[dict[str, Any], Start], Iterable[bytes]]


class WsgiApp:
    """An app as it serves."""

    def __init__(self, app: App, max_inputs: int) -> None:
        self._app = app
        self._run = Beside(max_inputs).wrapped(self._respond)

    async def start(self) -> None:
        """WSGI has nothing to be told."""

    async def stop(self) -> None:
        """Likewise."""

    async def serve(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        if exchange.is_websocket:
            await exchange.answer(426, [(b"content-length", b"0")])
            return
        work = loop.create_task(self._run(exchange, loop))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # Its thread may wait for the client, who has left, or run: it hears of both.
            exchange.lose()
            work.cancel()
            await asyncio.wait([work])
            raise

    def _respond(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        """Runs the app, on its thread."""

        def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        answer = _Answer(exchange, wait)
        parts = self._app(_environ(exchange, wait), answer.start)
        try:
            for part in parts:
                if part:
                    answer.write(part)
            answer.end()
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()


class _Answer:
    """start_response, and what follows it. The head leaves with the first bytes of the body."""

    def __init__(self, exchange: Exchange, wait: Callable[[Any], Any]) -> None:
        self._exchange = exchange
        self._wait = wait
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """What the app calls to say how its answer begins."""
        if exc_info is not None and self._exchange.answered:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._head is not None and exc_info is None:
            raise RuntimeError("the WSGI app called start_response twice")
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = int(status.split(" ", 1)[0]), fields
        return self.write

    def write(self, data: bytes) -> None:
        self._send_head()
        self._wait(self._exchange.send(data))

    def end(self) -> None:
        self._send_head()
        self._wait(self._exchange.finish())

    def _send_head(self) -> None:
        if self._exchange.answered:
            return
        if self._head is None:
            raise RuntimeError("the WSGI app never called start_response")
        self._wait(self._exchange.answer(*self._head))


class _Input(io.RawIOBase):
    """The request's body, as a file that waits."""

    def __init__(self, exchange: Exchange, wait: Callable[[Any], Any]) -> None:
        self._exchange = exchange
        self._wait = wait
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and self._exchange.has_body:
            self._rest = memoryview(self._wait(self._exchange.inflow.receive()))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _environ(exchange: Exchange, wait: Callable[[Any], Any]) -> dict[str, Any]:
    path, _, query = exchange.target.partition("?")
    host, port = exchange.host
    environ: dict[str, Any] = {
        "REQUEST_METHOD": exchange.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": exchange.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": exchange.scheme,
        "wsgi.input": io.BufferedReader(_Input(exchange, wait)),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in exchange.headers:
        if b"_" in name:
            continue  # by which another field could be forged
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
