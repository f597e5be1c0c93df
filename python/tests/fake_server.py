"""A tiny HTTP server that answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Asked:
    """One request."""

    def __init__(
        self, method: str, path: str, headers: dict[str, str], body: bytes, port: int
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.client_port = port

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# What is no bytes is sent in chunks, each as it comes.
Answer = tuple[int, dict[str, str], "bytes | Iterable[bytes]"]


class FakeServer:
    """Answers each request with what `answer` returns for it."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(
                    self.command,
                    self.path,
                    headers,
                    self.rfile.read(size),
                    self.client_address[1],
                )
                fake.asked.append(asked)
                status, extra, body = answer(asked)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                if not isinstance(body, bytes):
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for piece in itertools.chain(body, [b""]):
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                else:
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def document(value: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return status, named, json.dumps(value).encode()
