"""The line that says how a map goes, on stderr while it runs; its last state stays."""

from __future__ import annotations

import time

from ember import _live_line
from ember._watching import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember._map_flow import Flow


def begin(flow: Flow, name: str, length: int | None) -> ProgressLine | None:
    """Shows a line for this map, unless another line is shown."""
    line = ProgressLine(flow, name, length)
    return line if line.start() else None


class ProgressLine:
    """One map's line."""

    def __init__(self, flow: Flow, name: str, length: int | None) -> None:
        self._flow = flow
        self._name = name
        self._length = length
        self._began_s = time.monotonic()
        self._line: _live_line.LiveLine | None = None

    def start(self) -> bool:
        """Whether it is shown."""
        self._line = _live_line.begin(self.text)
        return self._line is not None

    def end(self) -> None:
        """The last state of it stays."""
        if self._line is not None:
            self._line.end(self.text())

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
            parts.append(f"{duration((self._length - done) / rate)} left")
        return ", ".join(parts)
