"""Items that a generator yields, no further ahead of who reads them than a window.

The window is the server's too: src/model/stream_window.h.
"""

from __future__ import annotations

from ember.exception import InputCancelled
from ember.runner._frames import CREDIT_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

WINDOW_ITEMS, WINDOW_BYTES = 64, 256 << 10
END = object()  # where the items end


class Window:
    """How many items may be sent yet. One thread sends, another may be told of credit.

    Waited for as a Waiter is: `done` while there is room, or there never will be any.
    """

    __slots__ = (
        "_allowed_bytes",
        "_allowed_items",
        "_sent_bytes",
        "_sent_items",
        "is_lost",
        "wake",
    )

    def __init__(self) -> None:
        self.wake: Callable[[], object] = int
        self.is_lost = False  # the server that the items went to has gone
        self._allowed_items, self._allowed_bytes = WINDOW_ITEMS, WINDOW_BYTES
        self._sent_items = self._sent_bytes = 0

    @property
    def done(self) -> bool:
        has_room = self._sent_items < self._allowed_items and self._sent_bytes < self._allowed_bytes
        return has_room or self.is_lost

    def take(self, size_bytes: int) -> None:
        """An item is sent."""
        self._sent_items += 1
        self._sent_bytes += size_bytes

    def give(self, body: Any) -> None:
        """More may be sent, says a Credit frame."""
        items, size_bytes = CREDIT_BODY.unpack(body)
        self._allowed_items += items
        self._allowed_bytes += size_bytes
        self.wake()

    def lost(self) -> None:
        self.is_lost = True
        self.wake()

    def check(self) -> None:
        """Nobody would get what comes: the generator is to end."""
        if self.is_lost:
            raise InputCancelled


def end_items(items: Any, error: BaseException) -> None:
    """Has a generator that is suspended clean up: what ended the call is raised at its yield.

    What it raises itself in that changes nothing: the call has its outcome.
    """
    throw, close = getattr(items, "throw", None), getattr(items, "close", None)
    try:
        if throw is not None and isinstance(error, InputCancelled):
            throw(error)
    except BaseException:
        return
    try:
        if close is not None:
            close()
    except BaseException:
        return


async def end_async_items(items: Any, error: BaseException) -> None:
    """The same of an async generator, which may await things while it cleans up."""
    throw, close = getattr(items, "athrow", None), getattr(items, "aclose", None)
    try:
        if throw is not None and not isinstance(error, Exception):
            await throw(error)
    except BaseException:
        return
    try:
        if close is not None:
            await close()
    except BaseException:
        return


def next_item(items: Iterator[Any]) -> Any:
    """The next item, or END."""
    return next(items, END)
