"""Scripts that say how their calls go: `with ember.enable_output():`."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

from ember import _context, _live_line
from ember._watching import progress_line, status_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@contextmanager
def enable_output() -> Iterator[None]:
    """While entered, a line on stderr says how what the program waits for goes: why a call waits,
    at which place and for how long yet, how far its function says it is, and how maps go.

    Where stderr is no terminal nothing is shown. `ember run` and `ember call` show the same.
    """
    before = _context.progress_by_default, _context.watch_calls
    if sys.stderr.isatty() and not _context.progress_by_default:  # `ember run` does it by itself
        _context.progress_by_default, _context.watch_calls = True, _CallLine
    try:
        yield
    finally:
        _context.progress_by_default, _context.watch_calls = before


class _CallLine:
    """The line of one call, while it waits or has something to say, unless another is shown."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._status: dict[str, Any] | None = None
        self._status_s = 0.0
        self._progress: dict[str, Any] | None = None
        self._line: _live_line.LiveLine | None = None

    def on_status(self, status: dict[str, Any]) -> None:
        self._status, self._status_s = status, time.monotonic()
        if status["phase"] == "running":
            self.on_end()
        else:
            self._show()

    def on_progress(self, progress: dict[str, Any]) -> None:
        self._progress = progress
        self._show()

    def on_end(self) -> None:
        if self._line is not None:
            self._line.end()
        self._line = None

    def _show(self) -> None:
        if self._line is None:
            self._line = _live_line.begin(self._text)

    def _text(self) -> str:
        if self._progress is not None:
            return f"{self._name}: {progress_line(self._progress)}"
        if self._status is None:
            return self._name
        return f"{self._name} {status_line(self._status, time.monotonic() - self._status_s)}"
