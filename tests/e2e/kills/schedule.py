"""Which processes are killed, in which order and how long after the last: all from one seed."""

from __future__ import annotations

import random
from typing import NamedTuple

TARGETS = ("serve", "node", "runners", "all")


class Kill(NamedTuple):
    """One kill -9 of everything in a target."""

    target: str
    after_s: float  # once the last one's harm has been looked at
    down_s: float  # before what was killed is started again
    share: float  # of the runners that are there; at least one

    def __str__(self) -> str:
        return f"{self.target} after {self.after_s:.2f} s, down {self.down_s:.2f} s"


def schedule(seed: int, count: int) -> list[Kill]:
    """As many kills of each target as can be, shuffled."""
    chance = random.Random(seed)
    targets = [TARGETS[number % len(TARGETS)] for number in range(count)]
    chance.shuffle(targets)
    return [
        Kill(
            target,
            after_s=chance.choice((0.02, 0.2, 1.0, 2.5)) * chance.uniform(0.5, 1.5),
            down_s=chance.choice((0.0, 0.0, 0.5, 1.5)),
            share=chance.choice((0.01, 0.5, 1.0)),
        )
        for target in targets
    ]
