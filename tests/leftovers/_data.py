"""What lies in a data directory, and what its server tells of leases."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import stat
from typing import TYPE_CHECKING, Any

from processes import read_text

from leftovers._holdings import Thing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HALF_WRITTEN = re.compile(r"\.new\d+$")


def files_of(data: Path) -> Iterator[Thing]:
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


def leases_of(data: Path) -> Iterator[Thing]:
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
    url, key = read_text(data / "url").strip(), read_text(data / "key").strip()
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
