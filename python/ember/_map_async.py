"""Inputs of a map that come from async iterables: drawn on their loop, for the thread that asks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any


class FromLoop:
    """An iterator, for another thread, over iterators of a loop's; the shortest ends it."""

    def __init__(self, iterators: list[Any], loop: Any) -> None:
        if loop is None:
            raise TypeError("async iterables take .aio(...)")
        self._iterators = iterators
        self._loop = loop
        self._drawing: Future[tuple[Any, ...] | None] | None = None
        self._closed = False

    def __iter__(self) -> FromLoop:
        return self

    def __next__(self) -> tuple[Any, ...]:
        import asyncio

        if self._closed:
            raise StopIteration
        self._drawing = asyncio.run_coroutine_threadsafe(self._draw(), self._loop)
        drawn = self._drawing.result()
        if drawn is None:
            raise StopIteration
        return drawn

    def close(self) -> None:
        """Nothing more is wanted."""
        self._closed = True
        if self._drawing is not None:
            self._drawing.cancel()

    async def _draw(self) -> tuple[Any, ...] | None:
        drawn = []
        for one in self._iterators:
            try:
                drawn.append(await one.__anext__() if hasattr(one, "__anext__") else next(one))
            except (StopIteration, StopAsyncIteration):
                return None
        return tuple(drawn)
