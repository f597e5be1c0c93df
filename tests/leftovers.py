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

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
_CONTAINER_ID = re.compile(r"\bct-[0-9a-hjkmnp-tv-z]{13}\b")
_VETH = re.compile(r"\bem[0-9a-f]{8}-\d+$")  # a veth pair's end, and what holds its namespace
_HALF_WRITTEN = re.compile(r"\.new\d+$")
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")
_NAMESPACE_LINK = re.compile(r"(\w+):\[(\d+)\]")
_POLL_S = 0.05


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


def held(data: Path | None = None) -> Holdings:
    """What the Ember of a data directory holds now; without one, what the machine does."""
    look = _Look(_Owner(data))
    things = [*look.processes(), *look.cgroups(), *look.mounts(), *look.namespaces()]
    things += [*look.sockets(), *look.interfaces(), *look.tables()]
    if data is not None:
        things += [*_files_of(data), *_leases_of(data)]
    return Holdings(things)


def settled(data: Path | None, before: Holdings = NOTHING, limit_s: float = 30.0) -> Holdings:
    """What is left beyond `before` once it is nothing, or after the limit."""
    deadline = time.monotonic() + limit_s
    while (left := held(data).beyond(before)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


# --- processes ------------------------------------------------------------------------------------


@dataclass
class _Process:
    pid: int
    parent: int
    state: str
    command: str
    words: list[str]
    environment: bytes
    cgroups: str
    namespaces: dict[str, int]
    sockets: set[int]
    open_namespaces: set[tuple[str, int]]
    mounts: list[_Mount] = field(default_factory=list)

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
        if shown == ["emberd"] or self.words[1:2] == ["-m"]:
            shown += self.words[1:3] if self.words[1] == "-m" else self.words[1:2]
        return " ".join(shown)


class _Mount(NamedTuple):
    device: str
    root: str
    point: str
    filesystem: str


def _read_bytes(path: Path | str) -> bytes:
    """A file of /proc, empty where the process has gone or is a zombie."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _read_text(path: Path | str) -> str:
    return _read_bytes(path).decode(errors="replace")


def _links_in(directory: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{directory}/{entry}")


def _namespaces_among(links: Iterable[str]) -> Iterator[tuple[str, int]]:
    for link in links:
        match = _NAMESPACE_LINK.fullmatch(link)
        if match and match[1] not in ("socket", "pipe"):
            yield match[1], int(match[2])


def _read_process(pid: int) -> _Process | None:
    at = f"/proc/{pid}"
    status = _read_text(f"{at}/stat")
    if not status:
        return None
    state, parent = status.rpartition(")")[2].split()[:2]
    if state == "X" or int(parent) == 2 or pid == 2:
        return None  # dead, or of the kernel
    links = list(_links_in(f"{at}/fd"))
    return _Process(
        pid=pid,
        parent=int(parent),
        state=state,
        command=status[status.index("(") + 1 : status.rindex(")")],
        words=_read_text(f"{at}/cmdline").split("\0")[:-1],
        environment=_read_bytes(f"{at}/environ"),
        cgroups=_read_text(f"{at}/cgroup"),
        namespaces=dict(_namespaces_among(_links_in(f"{at}/ns"))),
        sockets={int(match[1]) for link in links if (match := _SOCKET_LINK.fullmatch(link))},
        open_namespaces=set(_namespaces_among(links)),
    )


def _mounts_seen_by(pid: int) -> list[_Mount]:
    mounts = []
    for line in _read_text(f"/proc/{pid}/mountinfo").splitlines():
        fields = line.split(" ")
        filesystem = fields[fields.index("-") + 1]
        root, point = (re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), f) for f in fields[3:5])
        mounts.append(_Mount(fields[2], root, point, filesystem))
    return mounts


# --- whose it is ----------------------------------------------------------------------------------


class _Owner:
    """Tells what belongs to the Ember of a data directory; without one, all does."""

    def __init__(self, data: Path | None) -> None:
        self.everything = data is None
        self.table = ""
        if data is None:
            return
        # Names of interfaces and of the table go by the node's id, in digits that its rules have.
        rules = _read_text(data / "node" / "networks" / "firewall.nft").split()
        self.table = rules[3] if len(rules) > 3 else ""
        self.data = str(data.resolve())
        self.node = _read_text(data / "node" / "node_id").strip()
        self._data_within_its_filesystem = _place_of(self.data)

    def names(self, text: str) -> bool:
        """Whether a path or another text names it."""
        if self.everything:
            return True
        within = re.search(rf"(?<![\w./-]){re.escape(self.data)}(?![\w.-])", text)
        return bool(within) or bool(self.node and self.node in text)

    def owns_mount(self, mount: _Mount) -> bool:
        device, root = self._data_within_its_filesystem
        is_of_data = mount.device == device and f"{mount.root}/".startswith(f"{root}/")
        return is_of_data or self.names(mount.point) or self.names(mount.root)

    def owns_process(self, process: _Process) -> bool:
        """By its own words, marks, group or root; what it started is found by namespace."""
        if self.everything:
            return True
        entries = process.environment.split(b"\0")
        return (
            any(self.names(word) for word in process.words)
            or (bool(self.node) and any(b"=" + self.node.encode() in entry for entry in entries))
            or (bool(self.node) and f"/{self.node}" in process.cgroups)
            or any(mount.point == "/" and self.owns_mount(mount) for mount in process.mounts)
        )


def _place_of(path: str) -> tuple[str, str]:
    """The device of a path's filesystem, and the path within that filesystem."""
    holding = max(
        (
            m
            for m in _mounts_seen_by(os.getpid())
            if f"{path}/".startswith(m.point.rstrip("/") + "/")
        ),
        key=lambda mount: len(mount.point),
    )
    within = os.path.relpath(path, holding.point)
    return holding.device, os.path.normpath(f"{holding.root}/{within}")


class _Look:
    """One look at the machine."""

    def __init__(self, owner: _Owner) -> None:
        self._owner = owner
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        self._all = {pid: found for pid in pids if (found := _read_process(pid))}
        self._read_mounts()
        self._own = self._lineage()
        # The machine's, and this process's, which may be in a container itself.
        self._common = {
            item for pid in (1, os.getpid()) for item in self._namespaces_of(self._all.get(pid))
        }
        self._ours = self._find_ours()

    @staticmethod
    def _namespaces_of(process: _Process | None) -> set[tuple[str, int]]:
        return set(process.namespaces.items()) if process else set()

    def _read_mounts(self) -> None:
        """What each process sees mounted: the same list for all of one namespace and root."""
        self._mount_tables: dict[tuple[int, str], list[_Mount]] = {}
        for process in self._all.values():
            namespace = process.namespaces.get("mnt")
            if namespace is None:
                continue
            with contextlib.suppress(OSError):
                key = (namespace, os.readlink(f"/proc/{process.pid}/root"))
                if key not in self._mount_tables:
                    self._mount_tables[key] = _mounts_seen_by(process.pid)
                process.mounts = self._mount_tables[key]

    def _lineage(self) -> set[int]:
        """This process and those that it stems from: whoever looks is not what is looked for."""
        lineage, pid = set[int](), os.getpid()
        while pid and pid not in lineage:
            lineage.add(pid)
            pid = self._all[pid].parent if pid in self._all else 0
        return lineage

    def _find_ours(self) -> dict[int, _Process]:
        candidates = {pid: p for pid, p in self._all.items() if pid not in self._own}
        ours = {pid: p for pid, p in candidates.items() if self._owner.owns_process(p)}
        while True:
            inside = {n for p in ours.values() for n in self._namespaces_of(p)} - self._common
            more = {
                pid: p
                for pid, p in candidates.items()
                if pid not in ours
                and (self._namespaces_of(p) & inside or (p.state == "Z" and p.parent in ours))
            }
            if not more:
                return ours
            ours |= more

    def processes(self) -> Iterator[Thing]:
        for process in self._ours.values():
            if process.is_all_but_collected:
                continue
            words = " ".join(process.words)[:200]
            yield Thing("processes", process.name, f"{process.pid} {words}".strip())

    def cgroups(self) -> Iterator[Thing]:
        for mount in _mounts_seen_by(os.getpid()):
            if mount.filesystem not in ("cgroup", "cgroup2"):
                continue
            for directory, _, _ in os.walk(mount.point):
                path = os.path.relpath(directory, mount.point)
                if path != "." and self._owner.names(f"/{path}/"):
                    name = f"{os.path.basename(mount.point)} {_CONTAINER_ID.sub('ct-*', path)}"
                    yield Thing("cgroups", name, directory)

    def mounts(self) -> Iterator[Thing]:
        seen = set[int]()
        for namespace, root in self._mount_tables:
            if namespace in seen:
                continue
            seen.add(namespace)
            for mount in self._mount_tables[namespace, root]:
                if not self._owner.everything and not self._owner.owns_mount(mount):
                    continue
                point = _VETH.sub("em*", _CONTAINER_ID.sub("ct-*", mount.point))
                name = f"{mount.filesystem} at {point}"
                yield Thing("mounts", name, f"{mount.point} {mount.root} in mnt:[{namespace}]")

    def namespaces(self) -> Iterator[Thing]:
        seen = set(self._common)

        def new(found: Iterable[tuple[str, int]], how: str) -> Iterator[Thing]:
            for kind, inode in sorted(set(found) - seen):
                seen.add((kind, inode))
                yield Thing("namespaces", f"{kind} {how}", f"{kind}:[{inode}]")

        for process in self._ours.values():
            if not process.is_all_but_collected:
                yield from new(self._namespaces_of(process), f"of {process.name}")
        for process in self._ours.values():
            yield from new(process.open_namespaces, f"open in {process.name}")
        for mounts in self._mount_tables.values():
            for mount in mounts:
                if mount.filesystem == "nsfs" and self._owner.names(mount.point):
                    yield from new(_namespaces_among([mount.root]), "bound to a path")

    def sockets(self) -> Iterator[Thing]:
        holders = {inode: p for p in self._ours.values() for inode in p.sockets}
        for inode, name in self._unix_sockets().items():
            holder = holders.get(inode)
            if holder is None and not (name and self._owner.names(name)):
                continue
            which = f"of {holder.name}" if holder else "of no process of its Ember"
            shown = _CONTAINER_ID.sub("ct-*", os.path.basename(name) or "unnamed")
            yield Thing("sockets", f"{shown} {which}", f"{name} socket:[{inode}]".strip())

    def _unix_sockets(self) -> dict[int, str]:
        """The Unix sockets of every network namespace that a process is in, with their names."""
        found: dict[int, str] = {}
        seen = set[int]()
        for process in self._all.values():
            namespace = process.namespaces.get("net")
            if namespace is None or namespace in seen:
                continue
            seen.add(namespace)
            for line in _read_text(f"/proc/{process.pid}/net/unix").splitlines()[1:]:
                fields = line.split(None, 7)
                found[int(fields[6])] = fields[7] if len(fields) > 7 else ""
        return found

    def interfaces(self) -> Iterator[Thing]:
        for _, name in socket.if_nameindex():
            alias = _read_text(f"/sys/class/net/{name}/ifalias").strip()
            table = self._owner.table
            is_veth = bool(table) and name.startswith(f"em{table.removeprefix('ember_')}-")
            if is_veth or self._owner.names(alias):
                yield Thing("interfaces", re.sub(r"\d+$", "*", name), f"{name} {alias}".strip())

    def tables(self) -> Iterator[Thing]:
        if shutil.which("nft") is None:
            return
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
        for line in listed.stdout.splitlines():
            table = line.split()[-1]
            if self._owner.everything or table == self._owner.table:
                yield Thing("tables", "firewall table", table)


# --- what lies in the data directory, and what its server tells -----------------------------------


def _files_of(data: Path) -> Iterator[Thing]:
    for container in _children(data / "node" / "containers"):
        names = {entry.name for entry in _children(container)}
        if names == {"exit.json"}:
            yield Thing("ends", "end that the server has not billed", str(container))
        else:
            yield Thing("files", "directory of a container", str(container))
    for entry in _children(data / "node" / "crun"):
        yield Thing("files", "crun's record of a container", str(entry))
    for entry in _children(data / "serve" / "tmp"):
        yield Thing("files", "upload half done", str(entry))
    for directory in (data, data / "node", data / "serve"):
        for entry in _children(directory):
            if _HALF_WRITTEN.search(entry.name):
                yield Thing("files", "write half done", str(entry))
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(entry.lstat().st_mode):
                    yield Thing("files", f"socket {entry.name}", str(entry))


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _leases_of(data: Path) -> Iterator[Thing]:
    for node in _nodes_of(data):
        for device in node["devices"]:
            if device["container_id"]:
                which = f"{device['device_id']} of {device['container_id']}"
                yield Thing("leases", f"device {device['type']}", which)
        for what in ("cpu_millicores", "memory_bytes"):
            taken = node[what] - node[f"{what}_free"]
            if taken:
                yield Thing("leases", f"{taken} {what}", f"of {node[what]}")


def _nodes_of(data: Path) -> list[dict[str, Any]]:
    """The nodes as the data directory's server tells them; none where none runs."""
    url, key = _read_text(data / "url").strip(), _read_text(data / "key").strip()
    if not url:
        return []
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", "/api/v1/nodes", headers={"Authorization": f"Bearer {key}"})
        return json.loads(connection.getresponse().read())["nodes"]
    except OSError:
        return []  # it was killed
    finally:
        connection.close()
