"""Signals that can't be missed.

Python runs a handler between two steps of the main thread. A signal that comes just before that
thread enters a blocking call is noted, but the call is not interrupted and the handler runs only
when it returns. So every signal leaves a byte in a pipe, each handler empties the pipe, and a
thread that finds it not emptied interrupts the main thread again.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingImports]  # no enums
import os
import select
import time
from _thread import get_ident, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.002, 0.1
_MANY = 4096
_OURS = (signal.SIGUSR1, signal.SIGTERM)

_masks: dict[int, set[int]] = {}  # what threads that are forking blocked before, by thread


def handle(handlers: dict[int, Callable[[], None]]) -> None:
    """Sets the handlers, to be called on this (the main) thread."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def handler(number: int, _frame: object) -> None:
        try:
            os.read(reader, _MANY)
        except BlockingIOError:
            pass  # emptied by the handler of a signal that came together with this one
        handlers[number]()

    for number in handlers:
        signal.signal(number, handler)
    forget_in_children()
    start_new_thread(_insist, (reader, get_ident(), next(iter(handlers))))


def forget_in_children() -> None:
    """Has processes that user code forks take signals in the usual way, not in ours.

    A signal that meets a child before that would be taken our way and lost, so it waits.
    """
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)


def _hold() -> None:
    _masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(get_ident()))


def _forget() -> None:
    signal.set_wakeup_fd(-1)
    for number in _OURS:
        signal.signal(number, signal.SIG_DFL)
    _release()
    _masks.clear()


def _insist(reader: int, main: int, number: int) -> None:
    unhandled = select.poll()
    unhandled.register(reader, select.POLLIN)
    pause_s = _FIRST_PAUSE_S
    while True:
        unhandled.poll()
        time.sleep(pause_s)
        if unhandled.poll(0):
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            signal.pthread_kill(main, number)
        else:
            pause_s = _FIRST_PAUSE_S
