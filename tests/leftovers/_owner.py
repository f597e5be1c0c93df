"""Whose a thing is that the kernel lists."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from processes import read_text

from leftovers._holders import Holder, Mount, mounts_seen_by

if TYPE_CHECKING:
    from pathlib import Path


class Owner:
    """Tells what belongs to the Ember of a data directory; without one, all does."""

    def __init__(self, data: Path | None) -> None:
        self.everything = data is None
        self.table = ""
        if data is None:
            return
        # Names of interfaces and of the table go by the node's id, in digits that its rules have.
        rules = read_text(data / "node" / "networks" / "firewall.nft").split()
        self.table = rules[3] if len(rules) > 3 else ""
        self.data = str(data.resolve())
        self.node = read_text(data / "node" / "node_id").strip()
        self._data_within_its_filesystem = _place_of(self.data)

    def names(self, text: str) -> bool:
        """Whether a path or another text names it."""
        if self.everything:
            return True
        within = re.search(rf"(?<![\w./-]){re.escape(self.data)}(?![\w.-])", text)
        return bool(within) or bool(self.node and self.node in text)

    def owns_mount(self, mount: Mount) -> bool:
        device, root = self._data_within_its_filesystem
        is_of_data = mount.device == device and f"{mount.root}/".startswith(f"{root}/")
        return is_of_data or self.names(mount.point) or self.names(mount.root)

    def owns_process(self, process: Holder) -> bool:
        """By its own words, marks, group or root; what it started is found by namespace."""
        if self.everything:
            return True
        return (
            any(self.names(word) for word in process.words)
            or (bool(self.node) and process.bears(self.node))
            or (bool(self.node) and f"/{self.node}" in process.cgroups)
            or any(mount.point == "/" and self.owns_mount(mount) for mount in process.mounts)
        )


def _place_of(path: str) -> tuple[str, str]:
    """The device of a path's filesystem, and the path within that filesystem."""
    holding = max(
        (
            m
            for m in mounts_seen_by(os.getpid())
            if f"{path}/".startswith(m.point.rstrip("/") + "/")
        ),
        key=lambda mount: len(mount.point),
    )
    within = os.path.relpath(path, holding.point)
    return holding.device, os.path.normpath(f"{holding.root}/{within}")
