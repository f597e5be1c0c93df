"""A line on stderr that is drawn again where it stands.

What the program prints meanwhile takes its place, and it comes again below. There is one at a time.
"""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_REDRAW_S = 0.2
_ERASE = "\r\x1b[K"
_shown = threading.Lock()  # held by the one that is shown


def begin(text: Callable[[], str]) -> LiveLine | None:
    """Shows what the function gives from now on, unless another line is shown."""
    if not _shown.acquire(False):
        return None
    line = LiveLine(text)
    line.start()
    return line


def is_shown() -> bool:
    """Whether there is one now."""
    return _shown.locked()


class LiveLine:
    """The line. Where stderr is no terminal there is only what is left at the end."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._stream: Any = sys.stderr
        self._is_terminal = self._stream.isatty()
        self._drawn = False
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ember-live-line", daemon=True)
        self._guards: dict[str, _Guard] = {}

    def start(self) -> None:
        if not self._is_terminal:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._guards[name] = _Guard(stream, self)
                setattr(sys, name, self._guards[name])
        self._thread.start()

    def end(self, left: str = "") -> None:
        """It goes, and a last text stays in its place where there is one."""
        self._over.set()
        if self._is_terminal:
            self._thread.join()
        for name, guard in self._guards.items():
            if getattr(sys, name) is guard:
                setattr(sys, name, guard.stream)
        self.erase()
        if left:
            self._write(left + "\n")
        _shown.release()

    def erase(self) -> None:
        """Makes room for what is printed."""
        with self._lock:
            if self._drawn:
                self._drawn = False
                self._write(_ERASE)

    def _run(self) -> None:
        while not self._over.wait(_REDRAW_S):
            with self._lock:
                self._drawn = True
                self._write(_ERASE + self._text()[: _columns(self._stream) - 1])

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody can read it: the program goes on


class _Guard:
    """A stream that erases the line before it writes."""

    def __init__(self, stream: Any, line: LiveLine) -> None:
        self.stream = stream
        self._line = line

    def write(self, text: str) -> int:
        self._line.erase()
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _columns(stream: Any) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
