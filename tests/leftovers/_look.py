"""What the kernel lists of an Ember: by process, group, mount, namespace, socket and interface."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

from processes import read_text

from leftovers._holders import Holder, Mount, holders, mounts_seen_by, namespaces_among
from leftovers._holdings import Thing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from leftovers._owner import Owner

_CONTAINER_ID = re.compile(r"\bct-[0-9a-hjkmnp-tv-z]{13}\b")
_VETH = re.compile(r"\bem[0-9a-f]{8}-\d+$")  # a veth pair's end, and what holds its namespace


class Look:
    """One look at the machine."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._all = holders()
        self._read_mounts()
        self._own = self._lineage()
        # The machine's, and this process's, which may be in a container itself.
        self._common = {
            item for pid in (1, os.getpid()) for item in self._namespaces_of(self._all.get(pid))
        }
        self._ours = self._find_ours()

    @staticmethod
    def _namespaces_of(process: Holder | None) -> set[tuple[str, int]]:
        return set(process.namespaces.items()) if process else set()

    def _read_mounts(self) -> None:
        """What each process sees mounted: the same list for all of one namespace and root."""
        self._mount_tables: dict[tuple[int, str], list[Mount]] = {}
        for process in self._all.values():
            namespace = process.namespaces.get("mnt")
            if namespace is None:
                continue
            with contextlib.suppress(OSError):
                key = (namespace, os.readlink(f"/proc/{process.pid}/root"))
                if key not in self._mount_tables:
                    self._mount_tables[key] = mounts_seen_by(process.pid)
                process.mounts = self._mount_tables[key]

    def _lineage(self) -> set[int]:
        """This process and those that it stems from: whoever looks is not what is looked for."""
        lineage, pid = set[int](), os.getpid()
        while pid and pid not in lineage:
            lineage.add(pid)
            pid = self._all[pid].parent if pid in self._all else 0
        return lineage

    def _find_ours(self) -> dict[int, Holder]:
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
        for mount in mounts_seen_by(os.getpid()):
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
                    yield from new(namespaces_among([mount.root]), "bound to a path")

    def sockets(self) -> Iterator[Thing]:
        holder_of = {inode: p for p in self._ours.values() for inode in p.sockets}
        for inode, name in self._unix_sockets().items():
            holder = holder_of.get(inode)
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
            for line in read_text(f"/proc/{process.pid}/net/unix").splitlines()[1:]:
                fields = line.split(None, 7)
                found[int(fields[6])] = fields[7] if len(fields) > 7 else ""
        return found

    def interfaces(self) -> Iterator[Thing]:
        for _, name in socket.if_nameindex():
            alias = read_text(f"/sys/class/net/{name}/ifalias").strip()
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
