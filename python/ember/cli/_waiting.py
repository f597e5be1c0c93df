"""Why a call waits, told to who waits for it, once the answer is late; and how far it says it is.

At a terminal that is one line, which goes when the call runs; elsewhere a line for each reason.
"""

from __future__ import annotations

import _thread
import time

from ember import _live_line
from ember._client import shared
from ember._watching import progress_line, status_line
from ember.exception import EmberError

from . import _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATE_S = 3.0  # from when on it is said, where no line can be taken back
_SOON_S = 0.3  # and where one can
_LOOK_EVERY_S = 1.0
_REDRAW_S = 0.5
_LONG_US = 2_000_000  # so long has a call waited that is worth a word
_MAX_CALLS = 1_000


class CallWatched:
    """What is shown of one call: its watcher, as of the SDK. Ended by on_end() or `with`."""

    def __init__(self) -> None:
        self._status: dict[str, Any] | None = None
        self._status_s = 0.0
        self._until_end = _thread.allocate_lock()

    def __enter__(self) -> CallWatched:
        self._until_end.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.on_end()

    def on_status(self, status: dict[str, Any]) -> None:
        """Keeps it for the thread that tells of it, which begins with the first."""
        is_first = self._status is None
        self._status, self._status_s = status, time.monotonic()
        if status["phase"] == "running":
            _terminal.live("")
        elif is_first:
            _thread.start_new_thread(self._tell, ())

    def on_progress(self, progress: dict[str, Any]) -> None:
        """Shows it, at a terminal."""
        _terminal.live(progress_line(progress))

    def on_end(self) -> None:
        """Nothing is shown any more."""
        if self._until_end.locked():
            self._until_end.release()
        _terminal.live("")

    def _tell(self) -> None:
        told = ""
        pause_s = _SOON_S if _terminal.has_live_line() else _LATE_S
        while not self._until_end.acquire(timeout=pause_s):
            status = self._status
            if status is None or status["phase"] == "running":
                return
            pause_s = _REDRAW_S
            told = _say_or_show(status, time.monotonic() - self._status_s, told)
        _terminal.live("")  # it may have been drawn just when the call ended


class WaitingTold:
    """While entered, says why a call of an app that is ours alone waits, by looking now and then.

    Once it runs and says how far it is, that stands in a line of its own, on a terminal.
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._until_end = _thread.allocate_lock()

    def __enter__(self) -> None:
        self._until_end.acquire()
        _thread.start_new_thread(self._tell, ())

    def __exit__(self, *_: object) -> None:
        self._until_end.release()
        _terminal.live("")

    def _tell(self) -> None:
        told = ""
        pause_s = _LOOK_EVERY_S if _terminal.has_live_line() else _LATE_S
        while not self._until_end.acquire(timeout=pause_s):
            pause_s = _LOOK_EVERY_S
            try:
                ours = self._ours()
                waits = ours is not None and ours["state"] == "waiting"
                status = self._status(ours["call_id"]) if ours and waits else None
            except EmberError:
                continue  # the call itself tells if the server has gone
            if not self._until_end.locked() or _live_line.is_shown():
                continue
            if ours is None or status is None:
                _terminal.live(progress_line(ours["progress"]) if ours else "")
            elif _terminal.has_live_line() or ours["queued_us"] >= _LONG_US:
                told = _say_or_show(status, 0.0, told)

    def _ours(self) -> dict[str, Any] | None:
        """Of those that wait or say how far they are the one that began first."""
        calls = shared().get_json("/api/v1/calls", app=self._app, limit=_MAX_CALLS)["calls"]
        ours = [call for call in calls if call["state"] == "waiting" or _says_how_far(call)]
        return max(ours, key=lambda call: call["total_us"], default=None)

    @staticmethod
    def _status(call_id: str) -> dict[str, Any]:
        return shared().get_json(f"/api/v1/calls/{call_id}")


def _says_how_far(call: dict[str, Any]) -> bool:
    return call["state"] == "running" and bool(call.get("progress"))


def _say_or_show(status: dict[str, Any], passed_s: float, told: str) -> str:
    """Tell of a status at a terminal, elsewhere if its reason is not the last one told."""
    if _terminal.has_live_line():
        _terminal.live(f"waiting: {status_line(status, passed_s)}")
    elif status["reason"] and status["reason"] != told:
        _terminal.say(f"waiting: {status_line(status, passed_s)}")
    return status["reason"]
