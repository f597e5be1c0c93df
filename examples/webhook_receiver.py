"""A receiver of webhooks: verifies each one, and prints what it tells, once.

    WEBHOOK_SECRET=$(ember webhook secret) python examples/webhook_receiver.py 8099

Behind a proxy that does TLS it is what a URL for `with_options(webhook=...)` leads to. On the
server's own machine, for a try: `ember up --webhooks-allow 127.0.0.0/8`.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ember
from ember.exception import WebhookError

MOST_BYTES = 1 << 20
known: set[str] = set()  # a real one keeps the ids of some days where it keeps its data


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it takes, and 400 to what nobody vouches for."""

    def do_POST(self) -> None:
        """One webhook."""
        size = min(int(self.headers.get("Content-Length", 0)), MOST_BYTES)
        body = self.rfile.read(size)
        try:
            event = ember.webhook.verify(self.headers, body, os.environ["WEBHOOK_SECRET"])
        except WebhookError as error:
            self.send_error(400, str(error))
            return
        id = self.headers["webhook-id"]
        if id not in known:
            known.add(id)
            data = event["data"]
            print(id, event["type"], data["call_id"], data.get("result"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """No line for each request: what is told is printed."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on port {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()
