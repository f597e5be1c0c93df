"""The tasks in whose name user code runs, and coroutines that have begun without one.

An input's coroutine is begun as its task would begin it, and a task is used again and again; what
is here keeps both from showing.
"""

from __future__ import annotations

import asyncio
from sys import getrefcount
from types import coroutine
from weakref import getweakrefcount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context
    from typing import Any

    from ember._context import InputKey
    from ember.runner._batches import Batch
    from ember.runner._runner import Entry

_BLOCKING = "_asyncio_future_blocking"  # by which a task knows that a future is awaited properly


class Worker:
    """A long-lived task that drives one suspended coroutine after another."""

    __slots__ = ("_held", "rest", "task", "work")

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.rest: asyncio.Future[None]  # what the task awaits while it has nothing to do
        # With the input's format, and the batch that it stands for.
        self.work: tuple[InputKey, int, Entry, Suspended, Batch | None] | None = None
        self._held: tuple[int, int] | None = None  # how often its task is, before its first input

    def is_fresh(self) -> bool:
        """Whether, at rest, nothing tells its task from a new one: who kept hold of it in one
        input, to cancel it or to keep things by it, must not meet another with it."""
        task = self.task
        held = getrefcount(task), getweakrefcount(task)
        self._held = self._held or held
        callbacks = getattr(task, "_callbacks", None)
        return held == self._held and not callbacks and not self.rest.done()

    def end(self) -> None:
        """Has the task, which is at rest, end."""
        if not self.rest.done():
            self.rest.set_result(None)


class Suspended:
    """A coroutine of the user's that has begun, its context, and what it waits for."""

    __slots__ = ("awaited", "cancelled", "context", "running", "waits_for_future")

    def __init__(self, running: Coroutine[Any, Any, Any], context: Context, awaited: Any) -> None:
        self.running = running
        self.context = context
        self.awaited = awaited
        self.cancelled = False
        # As a task does on seeing what its coroutine waits for: another may await it meanwhile.
        self.waits_for_future = getattr(awaited, _BLOCKING, None) is not None
        if self.waits_for_future:
            setattr(awaited, _BLOCKING, False)

    def cancels_what_it_awaits(self) -> bool:
        """Whether a cancellation goes on to what is waited for, and comes up from there."""
        return self.waits_for_future and self.awaited.cancel()


@coroutine
def drive(suspended: Suspended) -> Generator[Any, Any, Any]:
    """Goes on with a coroutine in its context until it returns."""
    run, running, awaited = suspended.context.run, suspended.running, suspended.awaited
    error: BaseException | None = None
    if suspended.cancelled and not suspended.cancels_what_it_awaits():
        error = asyncio.CancelledError()
    elif suspended.waits_for_future:
        setattr(awaited, _BLOCKING, True)
    while True:
        sent = None
        if error is None:
            try:
                sent = yield awaited
            except BaseException as thrown:  # the task is cancelled, or the loop closed
                error = thrown
        try:
            awaited = run(running.send, sent) if error is None else run(running.throw, error)
        except StopIteration as stop:
            return stop.value
        error = None


def is_cancelled(task: asyncio.Task[None]) -> bool:
    """Whether the task still carries a cancellation (before Python 3.11: it can't be told)."""
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0
