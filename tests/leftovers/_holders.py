"""Processes and what they hold: groups, namespaces, sockets and mounts."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from processes import Process, read_text, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")
_NAMESPACE_LINK = re.compile(r"(\w+):\[(\d+)\]")


class Mount(NamedTuple):
    device: str
    root: str
    point: str
    filesystem: str


@dataclass
class Holder(Process):
    """A process, and all that the kernel says of it."""

    parent: int
    state: str
    command: str
    cgroups: str
    namespaces: dict[str, int]
    sockets: set[int]
    open_namespaces: set[tuple[str, int]]
    mounts: list[Mount] = field(default_factory=list)

    @property
    def is_all_but_collected(self) -> bool:
        """Whether it is dead, and init is about to see to it."""
        return self.state == "Z" and self.parent == 1

    @property
    def name(self) -> str:
        if self.state == "Z":
            return f"zombie {self.command}"
        if not self.words:
            return self.command  # of the kernel
        shown = [os.path.basename(self.words[0])]
        if self.words[1:2] == ["-m"]:
            shown += self.words[1:3]
        elif shown == ["emberd"]:
            shown += self.words[1:2]
        return " ".join(shown)


def _links_in(directory: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{directory}/{entry}")


def namespaces_among(links: Iterable[str]) -> Iterator[tuple[str, int]]:
    for link in links:
        match = _NAMESPACE_LINK.fullmatch(link)
        if match and match[1] not in ("socket", "pipe"):
            yield match[1], int(match[2])


def holders() -> dict[int, Holder]:
    """Every process by its pid, but for the dead and the kernel's own."""
    found = ((process.pid, _holder(process)) for process in running())
    return {pid: holder for pid, holder in found if holder}


def _holder(process: Process) -> Holder | None:
    at = f"/proc/{process.pid}"
    status = read_text(f"{at}/stat")
    if not status:
        return None
    state, parent = status.rpartition(")")[2].split()[:2]
    if state == "X" or int(parent) == 2 or process.pid == 2:
        return None  # dead, or of the kernel
    links = list(_links_in(f"{at}/fd"))
    return Holder(
        pid=process.pid,
        words=process.words,
        environment=process.environment,
        parent=int(parent),
        state=state,
        command=status[status.index("(") + 1 : status.rindex(")")],
        cgroups=read_text(f"{at}/cgroup"),
        namespaces=dict(namespaces_among(_links_in(f"{at}/ns"))),
        sockets={int(match[1]) for link in links if (match := _SOCKET_LINK.fullmatch(link))},
        open_namespaces=set(namespaces_among(links)),
    )


def mounts_seen_by(pid: int) -> list[Mount]:
    mounts = []
    for line in read_text(f"/proc/{pid}/mountinfo").splitlines():
        fields = line.split(" ")
        filesystem = fields[fields.index("-") + 1]
        root, point = (re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), f) for f in fields[3:5])
        mounts.append(Mount(fields[2], root, point, filesystem))
    return mounts
