"""How far calls say they are: in a word, in a line, and as a line that stays while they run."""

from __future__ import annotations

import _thread
import time

from ember._client import shared
from ember._watching import number, percent, progress_line
from ember.exception import EmberError

from . import _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOOK_EVERY_S = 1.0


def done(call: dict[str, Any]) -> str:
    """Return how far a call is that runs, for a narrow column."""
    progress = call.get("progress")
    if call["state"] != "running" or not progress or progress["step"] is None:
        return ""
    return percent(progress) or number(progress["step"])


class ProgressShown:
    """While entered, a spawned call's progress stands in a line of its own, on a terminal."""

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._until_end = _thread.allocate_lock()

    def __enter__(self) -> None:
        self._until_end.acquire()
        if _terminal.has_live_line():
            _thread.start_new_thread(self._show, ())

    def __exit__(self, *_: object) -> None:
        self._until_end.release()
        _terminal.live("")

    def _show(self) -> None:
        began_s = time.monotonic()
        while not self._until_end.acquire(timeout=_LOOK_EVERY_S):
            try:
                call = shared().get_json(f"/api/v1/calls/{self._call_id}")
            except EmberError:
                continue  # who waits for the call is told if the server has gone
            if self._until_end.locked():
                _terminal.live(_live_line(call, time.monotonic() - began_s))


def _live_line(call: dict[str, Any], elapsed_s: float) -> str:
    told = progress_line(call.get("progress")) or call.get("reason") or ""
    state = call["state"]
    return f"{state}, {told} ({_terminal.seconds(elapsed_s)})" if told else state
