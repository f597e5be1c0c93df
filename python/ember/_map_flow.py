"""What a map has under way: how far inputs are drawn, and which results wait to be taken.

Three meet here: the thread that draws inputs, the link that carries them, and whoever takes the
results. A link has `send(number, body)`, `end_of_inputs()`, `wait(flow)` and `close()`, and tells
the flow of what comes.
"""

from __future__ import annotations

import contextvars
import threading

from ember import _invoke

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_WINDOWS_AHEAD = 4  # inputs are drawn so many windows ahead of what has been taken
_MOST_HELD_BYTES = 64 << 20  # of results that nobody has taken; one alone may be larger


class Outcome:
    """How one input ended: a pickled value, or what makes the exception."""

    __slots__ = ("body", "error", "number")

    def __init__(
        self, number: int, body: bytes, error: Callable[[], BaseException] | None = None
    ) -> None:
        self.number = number
        self.body = body
        self.error = error


class Flow:
    """One map's state. Its fields are guarded by its condition."""

    def __init__(
        self, inputs: Iterator[tuple[Any, ...]], kwargs: dict[str, Any], loop: Any
    ) -> None:
        self._inputs = inputs
        self._kwargs = kwargs
        self._loop = loop  # of who takes the results, if that is async
        self._event: Any = None
        self._changed = threading.Condition()
        self._link: Any = None
        self._window = self._window_bytes = 0  # may be unanswered; zero until it is told
        self._sizes: dict[int, int] = {}  # of unanswered inputs
        self._unanswered_bytes = 0
        self._drawn = self._taken = 0
        self._held_bytes = 0
        self._results: list[Outcome] = []
        self._all_drawn = False
        self._error: BaseException | None = None
        self._closed = False
        self.totals: dict[str, Any] = {}  # as the server last told them
        self.wakes: Any = None  # a waiter of the runner's, where the results come over its socket

    def start(self, link: Any) -> None:
        """Begins to draw."""
        self._link = link
        if self._loop is not None:
            import asyncio

            self._event = asyncio.Event()
        link.start()
        context = contextvars.copy_context()  # a call in a container says which input makes it
        threading.Thread(
            target=context.run, args=(self._draw,), name="ember-map-inputs", daemon=True
        ).start()

    def close(self) -> None:
        """Cancels what is under way. What the iterator of inputs is in the midst of, goes on."""
        with self._changed:
            self._closed = True
            self._results = []
            self._changed.notify_all()
        self._link.close()

    # --- the thread that draws ---

    def _draw(self) -> None:
        # Nobody else holds them: a generator that only the map had is closed with it.
        inputs, self._inputs = self._inputs, iter(())
        try:
            while self._waits_for_room():
                try:
                    args = next(inputs)
                except StopIteration:
                    break
                body = _invoke.pickled(args, self._kwargs)
                if not self._admits(len(body)):
                    break
                self._link.send(self._drawn - 1, body)
        except BaseException as error:  # of the user's iterator, or an input that can't travel
            self.fail(error)
        with self._changed:
            self._all_drawn = True
            self._wake()
        self._link.end_of_inputs()

    def _waits_for_room(self) -> bool:
        """Returns when one more may be drawn; False if the map is over."""
        with self._changed:
            while not self._is_over() and not self._has_room():
                self._changed.wait()
            return not self._is_over()

    def _has_room(self) -> bool:
        return (
            len(self._sizes) < self._window
            and self._drawn - self._taken < _WINDOWS_AHEAD * self._window
            and (self._held_bytes < _MOST_HELD_BYTES or self._drawn == self._taken)
        )

    def _admits(self, size: int) -> bool:
        """Counts an input of so many bytes in once there is room for them."""
        with self._changed:
            while (
                not self._is_over()
                and self._sizes
                and self._unanswered_bytes + size > self._window_bytes
            ):
                self._changed.wait()
            if self._is_over():
                return False
            self._sizes[self._drawn] = size
            self._unanswered_bytes += size
            self._drawn += 1
            return True

    def _is_over(self) -> bool:
        return self._closed or self._error is not None

    # --- the link ---

    def widen(self, inputs: int, size_bytes: int) -> None:
        """So much may be unanswered from now on."""
        with self._changed:
            self._window, self._window_bytes = inputs, size_bytes
            self._changed.notify_all()

    def answered(self, outcomes: list[Outcome]) -> None:
        """These have come."""
        with self._changed:
            for outcome in outcomes:
                self._unanswered_bytes -= self._sizes.pop(outcome.number)
                self._held_bytes += len(outcome.body)
            if not self._closed:
                self._results += outcomes
            self._wake()

    def fail(self, error: BaseException) -> None:
        """The map can't go on; the first reason is the one that is told."""
        with self._changed:
            self._error = self._error or error
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._event is not None and not self._closed:
            try:
                self._loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:
                pass  # the loop has ended, and with it who would take anything
        if self.wakes is not None:
            self.wakes()

    # --- who takes the results ---

    def is_idle(self) -> bool:
        """Whether there is nothing to take now, and may be later."""
        return not (self._results or self._is_over() or (self._all_drawn and not self._sizes))

    def wait(self) -> list[Outcome]:
        """Blocks for what has come; nothing once the map is done. Raises what has ended it."""
        self._link.wait()
        return self._take()

    async def wait_async(self) -> list[Outcome]:
        while self.is_idle():
            self._event.clear()
            if self.is_idle():
                await self._event.wait()
        return self._take()

    def _take(self) -> list[Outcome]:
        with self._changed:
            if self._error is not None:
                raise self._error
            results, self._results = self._results, []
            return results

    def sleep(self, limit_s: float | None = None) -> None:
        """Blocks until there may be something to take."""
        with self._changed:
            if self.is_idle():
                self._changed.wait(limit_s)

    def took(self, outcome: Outcome) -> None:
        """This one goes to the user now."""
        with self._changed:
            self._taken += 1
            self._held_bytes -= len(outcome.body)
            if len(self._sizes) < self._window:
                self._changed.notify_all()

    @property
    def unanswered(self) -> int:
        return len(self._sizes)
