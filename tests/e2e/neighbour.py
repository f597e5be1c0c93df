"""Somebody who calls all the while, beside others who take what they can get."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Server

# Of serve with its memory of logs and all that is under way; a sanitizer takes several times as much.
RSS_BYTES = (160 << 20) * int(os.environ.get("EMBER_RSS_FACTOR", "1"))


class Neighbour:
    """Calls the app's `neighbour` again and again until told to end; each must succeed."""

    def __init__(self, server: Server, app: str) -> None:
        self._server = server
        self._app = app
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.calls = 0
        self.failure: object = None
        self.rss_bytes: dict[str, int] = {"serve": 0, "node": 0}

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        assert self.failure is None, self.failure
        assert self.calls > 0
        for role, size in self.rss_bytes.items():
            assert size < RSS_BYTES, f"{role} had {size >> 20} MiB"

    def _work(self) -> None:
        try:
            while not self._ended.is_set():
                assert self._server.result(self._app, "neighbour", n=self.calls) == self.calls + 1
                self.calls += 1
                for role in self.rss_bytes:
                    pages = Path(f"/proc/{self._server.pid(role)}/statm").read_text().split()[1]
                    self.rss_bytes[role] = max(self.rss_bytes[role], int(pages) * 4096)
        except BaseException as error:
            self.failure = error
