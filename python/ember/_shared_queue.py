"""Queues that functions and their callers share, durable and by name.

Items come out in the order in which they went in, each to one getter. A queue has partitions, which
are queues of their own by a name. Each method that blocks has a twin for async code,
`await q.get.aio()`; cancelling it leaves the item to the others.
"""

from __future__ import annotations

import queue
from time import monotonic, sleep

from ember import _json
from ember._aio import blocking, iterating
from ember._shared import MOST_BYTES, MOST_ITEMS, Handle, ask_async, batch, encoded, read_batch
from ember.exception import InvalidArgumentError, ResourceExhaustedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_MOST_ITEM_BYTES = 1 << 20
_MOST_PARTITION_BYTES = 64
_MOST_TTL_S = 7 * 24 * 3600
_TTL_S = 24 * 3600
_WAIT_S = 30.0  # of one question
_PAGE = 1000
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 1.0  # between looks at a partition that is full
_FULL = "partition_items"  # the limit's name


class Queue(Handle):
    """A handle to a queue. Make one with `Queue.from_name` or `Queue.ephemeral`."""

    kind = "queue"

    @blocking
    def put(
        self,
        value: object,
        *,
        block: bool = True,
        timeout: float | None = None,
        partition: str | None = None,
        partition_ttl: float = _TTL_S,
    ) -> None:
        """Puts an item last; on disk when it returns.

        Where the partition is full it waits, for `timeout` seconds at most; then, or at once with
        `block=False`, it raises queue.Full. The partition is let go `partition_ttl` seconds after
        the last put into it.
        """
        self._put([value], block, timeout, partition, partition_ttl)

    @blocking
    def put_many(
        self,
        values: Iterable[object],
        *,
        block: bool = True,
        timeout: float | None = None,
        partition: str | None = None,
        partition_ttl: float = _TTL_S,
    ) -> None:
        """Puts items one after the other: all or none of them, unless they take more than 32 MiB
        or are over 10,000."""
        self._put(values, block, timeout, partition, partition_ttl)

    def _put(
        self,
        values: Iterable[object],
        block: bool,
        timeout: float | None,
        partition: str | None,
        partition_ttl: float,
    ) -> None:
        told: dict[str, Any] = {
            "partition": _partition(partition), "ttl_ms": _ttl_ms(partition_ttl),
        }  # fmt: skip
        deadline_s = _deadline(block, timeout)
        items: list[bytes] = []
        size_bytes = 0
        for value in values:
            data = encoded(value, _MOST_ITEM_BYTES)
            if items and (size_bytes + len(data) > MOST_BYTES or len(items) == MOST_ITEMS):
                self._put_batch(items, deadline_s, told)
                items, size_bytes = [], 0
            items.append(data)
            size_bytes += len(data)
        if items:
            self._put_batch(items, deadline_s, told)

    def _put_batch(
        self, items: list[bytes], deadline_s: float | None, told: dict[str, Any]
    ) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._ask("put", batch((None, item) for item in items), **told)
                return
            except ResourceExhaustedError as error:
                if error.limit != _FULL:
                    raise
                left_s = pause_s if deadline_s is None else deadline_s - monotonic()
                if left_s <= 0:
                    raise queue.Full(str(error)) from None
            sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _get(
        self, *, block: bool = True, timeout: float | None = None, partition: str | None = None
    ) -> Any:
        """Takes the first item. It waits for one, for `timeout` seconds at most, and then raises
        queue.Empty; with `block=False` it returns None where there is none."""
        values = self._take(1, block, timeout, partition)
        return values[0] if values else None

    async def _get_async(
        self, *, block: bool = True, timeout: float | None = None, partition: str | None = None
    ) -> Any:
        values = await self._take_async(1, block, timeout, partition)
        return values[0] if values else None

    get = blocking(_get, _get_async)

    def _get_many(
        self,
        n_values: int,
        *,
        block: bool = True,
        timeout: float | None = None,
        partition: str | None = None,
    ) -> list[Any]:
        """Takes the first items, at most so many, or 16 MiB of them. It waits for the first as
        `get` does; with `block=False` the list may be empty."""
        return self._take(n_values, block, timeout, partition)

    async def _get_many_async(
        self,
        n_values: int,
        *,
        block: bool = True,
        timeout: float | None = None,
        partition: str | None = None,
    ) -> list[Any]:
        return await self._take_async(n_values, block, timeout, partition)

    get_many = blocking(_get_many, _get_many_async)

    def _take(
        self, most: int, block: bool, timeout: float | None, partition: str | None
    ) -> list[Any]:
        request = _Take(most, block, timeout, partition)
        while True:
            values = request.read(self._ask("take", **request.fields()))
            if values is not None:
                return values

    async def _take_async(
        self, most: int, block: bool, timeout: float | None, partition: str | None
    ) -> list[Any]:
        import asyncio

        await asyncio.to_thread(self._ensure)
        request = _Take(most, block, timeout, partition)
        while True:
            answer = await ask_async(self.kind, self.name, "take", **request.fields())
            values = request.read(answer)
            if values is not None:
                return values

    @blocking
    def len(self, *, partition: str | None = None, total: bool = False) -> int:
        """How many items there are in the partition, or in all of them."""
        name = None if total else _partition(partition)
        return _json.loads(self._ask("show", partition=name))["items"]

    @iterating
    def iterate(self, *, partition: str | None = None) -> Iterator[Any]:
        """The items of the partition in their order, without taking them, page by page."""
        name = _partition(partition)
        after, more = 0, True
        while more:
            answer = self._ask("page", partition=name, after=str(after), limit=_PAGE, values=True)
            items, more = read_batch(answer)
            for item in items:
                yield item.value()
                after = item.sequence

    @blocking
    def clear(self, *, partition: str | None = None, all: bool = False) -> None:
        """Removes the items of the partition, or with `all=True` those of all partitions."""
        self._ask("clear", partition=None if all else _partition(partition))

    @blocking
    def delete(self) -> None:
        """Removes the queue itself, with all that is in it. Who waits for items gets an error."""
        self._ask("delete")

    @blocking
    def info(self) -> dict[str, Any]:
        """Its document: its items, their bytes, and its partitions."""
        return _json.loads(self._ask("show"))


class _Take:
    """A get that may take several questions, since none of them waits for ever."""

    def __init__(
        self, most: int, block: bool, timeout: float | None, partition: str | None
    ) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise InvalidArgumentError(f"n_values: {most!r} is not a number from 1")
        self._count = min(most, MOST_ITEMS)
        self._block = block
        self._partition = _partition(partition)
        self._deadline_s = _deadline(block, timeout)

    def fields(self) -> dict[str, Any]:
        """What to ask next."""
        left_s = _WAIT_S if self._deadline_s is None else self._deadline_s - monotonic()
        wait_ms = round(1000 * min(max(left_s, 0.0), _WAIT_S))
        return {"partition": self._partition, "count": self._count, "wait_ms": wait_ms}

    def read(self, answer: bytes) -> list[Any] | None:
        """The values that have come; None to ask again."""
        items, _ = read_batch(answer)
        if items or not self._block:
            return [item.value() for item in items]
        if self._deadline_s is not None and monotonic() >= self._deadline_s:
            raise queue.Empty
        return None


def _deadline(block: bool, timeout: float | None) -> float | None:
    """When waiting ends; None: never."""
    if not block:
        return monotonic()
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout < 0:
        raise InvalidArgumentError(f"timeout: {timeout!r} is not a number of seconds")
    return monotonic() + timeout


def _partition(name: str | None) -> str:
    if name is None:
        return ""
    if not isinstance(name, str) or not 0 < len(name.encode()) <= _MOST_PARTITION_BYTES:
        raise InvalidArgumentError(
            f"partition: {name!r} is not a text of 1 to {_MOST_PARTITION_BYTES} bytes"
        )
    return name


def _ttl_ms(seconds: float) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidArgumentError(f"partition_ttl: expected seconds, got {type(seconds).__name__}")
    if not 0.001 <= seconds <= _MOST_TTL_S:
        raise InvalidArgumentError(
            f"partition_ttl: {seconds} is not between 0.001 and {_MOST_TTL_S}"
        )
    return round(seconds * 1000)
