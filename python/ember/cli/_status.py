"""``ember status``: what runs, and what this machine cannot do."""

from __future__ import annotations

from ember import _config
from ember._client import Client

from . import _exit, _terminal
from ._exit import platform_error
from ._parser import Parser
from ._server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def status(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember status``."""
    parser = Parser(prog, summary)
    parser.add_data()
    parser.add_json()
    options = parser.parse_args(argv)
    server = Server(options.data)
    server.use()
    client = Client(_config.load())
    document = client.get_json("/api/v1/status")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    nodes = client.get_json("/api/v1/nodes")["nodes"]
    _terminal.data(
        f"Ember {document['version']} at {client.config.url}, "
        f"up {_terminal.milliseconds(document['uptime_ms'])}"
    )
    _terminal.data(
        f"  apps {document['apps']}, containers {document['containers']}, nodes {document['nodes']}"
    )
    describe(document, nodes, _terminal.data)
    if not nodes:
        raise platform_error(
            "no node has joined: nothing can run",
            next_step=f"ember up (log: {server.log_path('node')})",
        )
    return _exit.OK


def describe(
    status: dict[str, Any], nodes: list[dict[str, Any]], write: Callable[[str], None]
) -> None:
    """Write what the machine offers and what it lacks."""
    write(_terminal.field("isolation", status["isolation"]))
    write(_terminal.field("gvisor", f"no: {why}" if (why := status["no_gvisor"]) else "yes"))
    write(_terminal.field("network", status["network"]))
    for missing in status["missing"]:
        write(_terminal.field("missing", missing))
    for node in nodes:
        write(_terminal.field("fleet", describe_node(node)))
        for line in unavailable(node["devices"]):
            write(_terminal.field("device", line))
    book = status.get("price_book") or {}
    if book.get("note"):
        write(_terminal.field("prices", book["note"]))


def describe_node(node: dict[str, Any]) -> str:
    """Return one line: devices, cores, memory."""
    parts = [devices(node["devices"]) or "no GPUs"]
    parts.append(f"{node['cpu_millicores'] / 1000:g} CPU cores")
    parts.append(f"{_terminal.size(node['memory_bytes'])} memory")
    return f"{node['name']}: {', '.join(parts)}"


def _state(device: dict[str, Any]) -> str:
    """Return the word for people."""
    if device["state"] == "available" and device.get("vram_bytes_shared"):
        return "shared"
    return {"in_use": "in use", "mig": "MIG"}.get(device["state"], str(device["state"]))


def unavailable(entries: list[dict[str, Any]]) -> list[str]:
    """Return a line for each device that is not to be had whole: ``H100 gp-…: cordoned, Xid …``."""
    return [
        f"{entry['type']} {entry['device_id']}: {_state(entry)}, {entry['reason']}"
        for entry in entries
        if entry["reason"]
    ]


def devices(entries: list[dict[str, Any]]) -> str:
    """Return the devices by type: ``2 x L4 (simulated), 1 x H100 (in use)``."""
    counts: dict[str, int] = {}
    for entry in entries:
        marks = ["simulated"] if entry["simulated"] else []
        if _state(entry) != "available":
            marks.append(_state(entry))
        name = entry["type"] + (f" ({', '.join(marks)})" if marks else "")
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} x {name}" for name, count in counts.items())
