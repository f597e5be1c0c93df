"""Things that are held, by kind and name, and what there is of them beyond what was."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

KINDS = (
    "processes",  # with zombies, but for those that init is about to collect
    "cgroups",  # in each hierarchy, v1 and v2
    "mounts",  # in each mount namespace that a process is in
    "namespaces",  # that a process is in or has open, or that is bound to a path
    "sockets",  # Unix sockets, named, abstract and unnamed
    "interfaces",  # of the network namespace that this runs in
    "tables",  # of its firewall
    "files",  # of containers and of writes half done, in the node's and the server's directories
    "ends",  # of containers, kept by the node until the server has billed them
    "leases",  # of devices, CPU and memory, as the running server tells them
)


class Thing(NamedTuple):
    """One thing that is held."""

    kind: str
    name: str  # the same for each of its sort
    which: str  # this one: a pid, a path, an id

    def __str__(self) -> str:
        return f"{self.kind}: {self.name} ({self.which})"


class Holdings(tuple[Thing, ...]):
    """All that is held at one moment; false when that is nothing."""

    def beyond(self, before: Holdings) -> Holdings:
        """What is there beyond what was: of each name, as many as there are more."""
        spare = Counter((thing.kind, thing.name) for thing in before)
        known = set(before)
        more: list[Thing] = []
        # Those that were there already stand for themselves first.
        for thing in sorted(self, key=lambda thing: thing not in known):
            key = (thing.kind, thing.name)
            if spare[key] > 0:
                spare[key] -= 1
            else:
                more.append(thing)
        return Holdings(more)

    def of(self, *kinds: str) -> Holdings:
        """Those of some kinds alone."""
        return Holdings(thing for thing in self if thing.kind in kinds)

    def without(self, *kinds: str) -> Holdings:
        """All but those of some kinds."""
        return Holdings(thing for thing in self if thing.kind not in kinds)

    def counts(self) -> dict[str, int]:
        """How many there are of each kind, every kind named."""
        return {kind: sum(thing.kind == kind for thing in self) for kind in KINDS}

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "nothing"


NOTHING = Holdings()
