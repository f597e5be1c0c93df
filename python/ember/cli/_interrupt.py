"""Ctrl-C in commands that have something to clean up."""

from __future__ import annotations

import os
import signal

from . import _exit


def end_on_second_interrupt() -> None:
    """Ctrl-C (or SIGTERM) cancels what runs and cleans up; once more ends at once."""
    count = 0

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal count
        count += 1
        if count > 1:
            os._exit(_exit.INTERRUPTED)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
