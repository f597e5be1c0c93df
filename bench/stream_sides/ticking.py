"""What both servers stream: the time of each item, ten a second, and when who stopped."""

from __future__ import annotations

import asyncio
import time

INTERVAL_S = 0.1

_stopped_ns: dict[int, int] = {}  # by stream


async def ticks(stream: int):
    """Items without an end. Each is the time at which it is yielded."""
    due_s = time.monotonic()
    try:
        while True:
            yield time.monotonic_ns()
            due_s += INTERVAL_S
            await asyncio.sleep(due_s - time.monotonic())
    finally:
        _stopped_ns[stream] = time.monotonic_ns()


def take_stopped() -> dict[int, int]:
    """When each stream that has ended since the last look stopped."""
    taken = dict(_stopped_ns)
    _stopped_ns.clear()
    return taken
