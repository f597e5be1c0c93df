"""What an Ember holds of its machine, so that what is left after an end can be told by name.

    before = held(data)
    ...
    left = held(data).beyond(before)
    assert not left, left

What is held is looked up in the kernel's own listings and not asked of Ember, but for the leases of
devices, which only Ember knows. With a data directory it is what that Ember holds, whatever else
the machine does; without one it is all that the machine holds, so that the difference counts on a
machine at rest alone, and finds what bears no mark of its Ember any more.

Things are compared by name and number, since ids do not come again: two spare networks after a run
are no more than the two before it, whichever they are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from leftovers._data import files_of, leases_of
from leftovers._holdings import KINDS, NOTHING, Holdings, Thing
from leftovers._look import Look
from leftovers._owner import Owner

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KINDS", "NOTHING", "Holdings", "Thing", "held", "settled"]

_POLL_S = 0.05


def held(data: Path | None = None) -> Holdings:
    """What the Ember of a data directory holds now; without one, what the machine does."""
    look = Look(Owner(data))
    things = [*look.processes(), *look.cgroups(), *look.mounts(), *look.namespaces()]
    things += [*look.sockets(), *look.interfaces(), *look.tables()]
    if data is not None:
        things += [*files_of(data), *leases_of(data)]
    return Holdings(things)


def settled(data: Path | None, before: Holdings = NOTHING, limit_s: float = 30.0) -> Holdings:
    """What is left beyond `before` once it is nothing, or after the limit."""
    deadline = time.monotonic() + limit_s
    while (left := held(data).beyond(before)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left
