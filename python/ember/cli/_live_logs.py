"""The log lines of an app, written while a command works on it."""

from __future__ import annotations

import sys
import threading

from ember import _client
from ember.exception import EmberError

from . import _terminal
from ._logs import tagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_LOG_LINES = 10_000


class LiveLogs:
    """Writes an app's log lines to stderr as they come, and none twice."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._last: dict[str, Any] = {}  # of those written
        self._repeats = 0  # how often it was written
        self._done = False
        threading.Thread(target=self._follow, name="ember-logs", daemon=True).start()

    def finish(self) -> None:
        """Write what has not come yet: the server has each line before the result."""
        with self._lock:
            self._done = True
        try:
            lines = list(
                _client.shared().stream_ndjson("/api/v1/logs", app=self._app, last=_MAX_LOG_LINES)
            )
        except EmberError:
            return
        for line in lines[self._end_of_written(lines) :]:
            self._write(line)

    def _follow(self) -> None:
        try:
            lines = _client.shared().stream_ndjson(
                "/api/v1/logs", app=self._app, last=_MAX_LOG_LINES, follow=True
            )
            for line in lines:
                with self._lock:
                    if self._done:
                        return
                    self._write(line)
                    if "at_ms" in line:  # else it stands for lines that were left out
                        self._repeats = self._repeats + 1 if line == self._last else 1
                        self._last = line
        except EmberError:
            return  # the calls tell if the server has gone; finish() makes up for the rest

    def _end_of_written(self, lines: list[dict[str, Any]]) -> int:
        """Return the index of the first line that was not written."""
        same = [index for index, line in enumerate(lines) if line == self._last]
        return same[min(self._repeats, len(same)) - 1] + 1 if same else 0

    def _write(self, line: dict[str, Any]) -> None:
        for text in tagged(line, sys.stderr):
            _terminal.say(text)
