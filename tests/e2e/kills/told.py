"""A receiver of webhooks that answers at once, and what it has been told of calls."""

from __future__ import annotations

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import ember
from ember.exception import WebhookError

if TYPE_CHECKING:
    from kills.sent import Sent

_OUTCOMES = {"call.succeeded": "result", "call.cancelled": "cancelled"}


class Told:
    """At work until it is closed."""

    def __init__(self) -> None:
        self.secret = ""  # once it is known
        self.findings: list[str] = []
        self._lock = threading.Lock()
        self._events: dict[str, list[str]] = defaultdict(list)  # by call
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told._take(dict(self.headers.items()), body)
                self.send_response(204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, headers: dict[str, str], body: bytes) -> None:
        with self._lock:
            try:
                event = ember.webhook.verify(headers, body, self.secret)
            except WebhookError as error:
                self.findings.append(f"a webhook that cannot be verified: {error}")
            else:
                self._events[event["data"]["call_id"]].append(event["type"])

    def missing(self, calls: list[Sent]) -> list[str]:
        """The accepted calls whose end it was to be told of and was not yet."""
        with self._lock:
            return [
                s.call_id for s in calls if s.is_told and s.kept and s.call_id not in self._events
            ]

    def check(self, calls: list[Sent]) -> tuple[list[str], int]:
        """What it was told otherwise than the callers, and how often it was told again."""
        found = list(self.findings)
        again = 0
        for sent in calls:
            events = self._events.get(sent.call_id, [])
            again += max(0, len(events) - 1)
            if len(set(events)) > 1:
                found.append(f"several ends were told of {sent}: {events}")
            ended = sent.outcome if sent.outcome in _OUTCOMES.values() else "failed"
            if events and _OUTCOMES.get(events[0], "failed") != ended:
                found.append(f"{events[0]} was told of {sent}")
        return found, again
