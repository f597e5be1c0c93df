"""Callers in threads: each makes one call after another, of all kinds, and keeps how it ended."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, NamedTuple

from kills import jobs
from kills.sent import CALL_LIMIT_S, Door, Sent, call, stream

if TYPE_CHECKING:
    from collections.abc import Callable


class _Work(NamedTuple):
    function: str
    longest_s: float | None  # how long it is to take at most; None: it takes no time
    weight: int  # how often it is called
    make: Callable[[Door, str, str, float | None], Sent] = call


_WORK = (
    _Work("echo", None, 6),
    _Work("on_gpu", 0.6, 3),
    _Work("on_either", 0.4, 2),
    _Work("compute", 0.1, 2),
    _Work("shared", 0.8, 3),
    _Work("batched", 0.4, 3),
    _Work("ask", None, 2),
    _Work("refuse", None, 1),
    _Work("items", 0.8, 4, stream),
    _Work("job", 0.5, 5, jobs.spawn),
    _Work("job", 0.5, 1, jobs.spawn_and_cancel),
    _Work("mapped", 0.2, 1, jobs.map_all),
    _Work("mapped_later", 0.2, 1, jobs.spawn_map),
)


class Load:
    """Callers that go on until they are stopped."""

    def __init__(self, door: Door, seed: int, callers: int) -> None:
        self._door = door
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Sent] = []
        self._threads = [
            threading.Thread(target=self._run, args=(seed, number)) for number in range(callers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Sent]:
        """Lets each caller end its call; all calls that were made."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(jobs.JOB_LIMIT_S + CALL_LIMIT_S)
        return self.calls()

    def calls(self) -> list[Sent]:
        with self._lock:
            return list(self._calls)

    def _run(self, seed: int, caller: int) -> None:
        chance = random.Random(f"{seed}/{caller}")
        weights = [work.weight for work in _WORK]
        number = 0
        while not self._stopping.is_set():
            (work,) = chance.choices(_WORK, weights)
            number += 1
            seconds = None if work.longest_s is None else chance.uniform(0.0, work.longest_s)
            sent = work.make(self._door, work.function, f"{seed}-{caller}-{number}", seconds)
            with self._lock:
                self._calls.append(sent)
            # Bursts and rests: rests are when pools scale to zero.
            refused = sent.outcome in ("refused", "ended")
            rest_s = 0.3 if refused else chance.choice((0.0, 0.0, 0.05, 0.3, 1.5))
            self._stopping.wait(rest_s)
