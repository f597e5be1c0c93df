"""Why a call waits, told to who waits for it, once the answer is late.

A thread sleeps beside the call; one that is answered soon costs that thread and no request.
"""

from __future__ import annotations

import _thread
import time

from ember._client import shared
from ember.exception import EmberError

from . import _call_progress, _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATE_S = 3.0
_LOOK_EVERY_S = 1.0
_LONG_US = 2_000_000  # so long has a call waited that is worth a word
_MAX_CALLS = 1_000


class WaitingTold:
    """While entered, says why a call of the app (or of one function of it) waits.

    Once it runs and says how far it is, that stands in a line of its own, on a terminal.
    """

    def __init__(self, app: str, function: str | None = None) -> None:
        self._app = app
        self._function = function
        self._until_end = _thread.allocate_lock()

    def __enter__(self) -> None:
        self._began_s = time.monotonic()
        self._until_end.acquire()
        _thread.start_new_thread(self._tell, ())

    def __exit__(self, *_: object) -> None:
        self._until_end.release()
        _terminal.live("")

    def _tell(self) -> None:
        told = ""
        pause_s = _LATE_S
        while not self._until_end.acquire(timeout=pause_s):
            pause_s = _LOOK_EVERY_S
            try:
                ours = self._ours()
                reason = self._reason(ours) if ours else ""
            except EmberError:
                continue  # the call itself tells if the server has gone
            if ours and ours.get("progress") and self._until_end.locked():
                _terminal.live(_call_progress.line(ours.get("progress")))
            if reason and reason != told and self._until_end.locked():
                told = reason
                _terminal.say(f"waiting: {reason}")

    def _ours(self) -> dict[str, Any] | None:
        calls = shared().get_json("/api/v1/calls", app=self._app, limit=_MAX_CALLS)["calls"]
        ours = filter(self._may_be_ours, calls)
        return max(ours, key=lambda call: call["total_us"], default=None)

    def _reason(self, ours: dict[str, Any]) -> str:
        """Return why our call waits, if it has for long."""
        if ours["state"] != "waiting" or ours["queued_us"] < _LONG_US:
            return ""
        return shared().get_json(f"/api/v1/calls/{ours['call_id']}")["reason"]

    def _may_be_ours(self, call: dict[str, Any]) -> bool:
        """No id is known before the answer: of a function's calls the first since this began.

        An app of `ember run` has no calls but ours, and of these any that waits or says how far it
        is.
        """
        if not self._function:
            return call["state"] == "waiting" or bool(
                call["state"] == "running" and call.get("progress")
            )
        passed_us = (time.monotonic() - self._began_s) * 1e6
        is_live = call["state"] in ("waiting", "running")
        return is_live and call["function"] == self._function and call["total_us"] <= passed_us
