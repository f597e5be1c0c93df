"""The line that says how a map goes, on stderr while it runs.

It is drawn again where it stands; what the program prints meanwhile takes its place, and it comes
again below. Where stderr is no terminal there is one line, at the end.
"""

from __future__ import annotations

import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._map_flow import Flow

_REDRAW_S = 0.2
_ERASE = "\r\x1b[K"
_shown = threading.Lock()  # held by the one map whose line is shown


def begin(flow: Flow, name: str, length: int | None) -> ProgressLine | None:
    """Shows a line for this map, unless another map has one."""
    if not _shown.acquire(False):
        return None
    line = ProgressLine(flow, name, length)
    line.start()
    return line


class ProgressLine:
    """One map's line."""

    def __init__(self, flow: Flow, name: str, length: int | None) -> None:
        self._flow = flow
        self._name = name
        self._length = length
        self._began_s = time.monotonic()
        self._stream: Any = sys.stderr
        self._is_terminal = self._stream.isatty()
        self._drawn = False
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ember-map-line", daemon=True)
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

    def end(self) -> None:
        """The last state of it stays."""
        self._over.set()
        if self._is_terminal:
            self._thread.join()
        for name, guard in self._guards.items():
            if getattr(sys, name) is guard:
                setattr(sys, name, guard.stream)
        self.erase()
        self._write(self.text() + "\n")
        _shown.release()

    def erase(self) -> None:
        """Makes room for what is printed."""
        with self._lock:
            if self._drawn:
                self._drawn = False
                self._write(_ERASE)

    def text(self) -> str:
        """What there is to say now."""
        totals = self._flow.totals
        done, failed = totals.get("done", 0), totals.get("failed", 0)
        elapsed_s = max(time.monotonic() - self._began_s, 1e-3)
        rate = done / elapsed_s
        of = f"/{self._length:,}" if self._length is not None else ""
        parts = [f"{self._name}: {done:,}{of} done", f"{rate:,.1f}/s"]
        if self._flow.unanswered:
            parts.append(f"{self._flow.unanswered} in flight")
        if failed:
            parts.append(f"{failed} failed")
        if totals.get("containers"):
            parts.append(f"{totals['containers']} containers")
        parts.append(f"${float(totals.get('cost_usd', 0)):.6f}")
        if self._length is not None and 0 < done < self._length:
            parts.append(f"{_duration((self._length - done) / rate)} left")
        return ", ".join(parts)

    def _run(self) -> None:
        while not self._over.wait(_REDRAW_S):
            with self._lock:
                self._drawn = True
                self._write(_ERASE + self.text()[: _columns(self._stream) - 1])

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody can read it: the map goes on


class _Guard:
    """A stream that erases the line before it writes."""

    def __init__(self, stream: Any, line: ProgressLine) -> None:
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


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
