"""The lists of functions, containers and nodes."""

from __future__ import annotations

from ember._client import shared

from . import _exit, _terminal
from ._app import all_apps, get_app, list_web_urls
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def list_functions(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember function list``."""
    parser = Parser(prog, summary)
    parser.add_argument("app", nargs="?", help="only of this app")
    parser.add_json()
    options = parser.parse_args(argv)
    names = (
        [options.app]
        if options.app
        else [app["name"] for app in all_apps() if app["state"] != "stopped"]
    )
    apps = [get_app(name) for name in names]
    if options.json:
        functions = [
            {"app": app["name"], **function} for app in apps for function in app["functions"]
        ]
        _terminal.document({"functions": functions})
        return _exit.OK
    rows = [
        row
        for app in apps
        for function in app["functions"]
        for row in _function_rows(app["name"], function)
    ]
    columns = ["function", "gpu", "calls", "containers", "why"]
    if any(row["methods"] for row in rows):
        columns.insert(1, "methods")
    _terminal.table(
        rows,
        columns,
        cut_column="why",
        empty="no functions; next: ember deploy FILE.py",
    )
    for app in apps:
        for function in app["functions"]:
            list_web_urls(app["name"], function.get("web", ()))
    return _exit.OK


def _function_rows(app: str, function: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a function's row, and one for each of its variants that has anything."""
    methods = ", ".join(method["name"] for method in function.get("methods", ()))
    rows = [{**_function_row(app, function), "methods": methods}]
    for variant in function.get("variants", ()):
        if variant["waiting"] or variant["running"] or sum(variant["containers"].values()):
            row = _function_row(app, {**function, **variant})
            told = f"{row['function']}({_told(variant)})"
            rows.append({**row, "function": told, "methods": ""})
    return rows


def _told(variant: dict[str, Any]) -> str:
    """Return how a variant differs, in a few words."""
    differences = {**variant["parameters"], **variant["options"]}
    return ", ".join(f"{name}={value}" for name, value in differences.items())


def _function_row(app: str, function: dict[str, Any]) -> dict[str, Any]:
    count = function["containers"]
    states = [f"{count[state]} {state}" for state in ("starting", "idle", "busy") if count[state]]
    containers = ", ".join(states) or "0"
    if sum(count.values()) < function["desired"]:
        containers += f" of {function['desired']} wanted"
    calls = f"{function['running']} running, {function['waiting']} waiting"
    return {
        "function": f"{app}.{function['name']}",
        "gpu": function["gpu"],
        "calls": calls if function["running"] or function["waiting"] else "0",
        "containers": containers,
        "why": function["reason"],
    }


def list_containers(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container list``."""
    parser = Parser(prog, summary)
    parser.add_argument("--app", help="only of this app")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/containers")
    if options.app:
        document["containers"] = [
            row for row in document["containers"] if row["app"] == options.app
        ]
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "container": row["container_id"],
            "function": f"{row['app']}.{row['function']} v{row['version']}",
            "state": row["state"],
            "gpu": row["gpu"],
            "inputs": row["inputs"],
            "started": _terminal.ago(row["started_ms"]),
        }
        for row in document["containers"]
    ]
    _terminal.table(
        rows,
        ["container", "function", "state", "gpu", "inputs", "started"],
        right=["inputs"],
        cut_column="function",
        empty=f"no containers of {options.app}" if options.app else "no containers",
    )
    return _exit.OK


def list_nodes(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember node list``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/nodes")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    from ._status import devices, unavailable

    rows = [
        {
            "node": node["node_id"],
            "name": node["name"],
            "cores": f"{node['cpu_millicores_free'] / 1000:g} of {node['cpu_millicores'] / 1000:g}",
            "memory": f"{_terminal.size(node['memory_bytes_free'])} of "
            f"{_terminal.size(node['memory_bytes'])}",
            "devices": devices(node["devices"]),
        }
        for node in document["nodes"]
    ]
    widths = {
        column: max((len(row[column]) for row in rows), default=0) for column in ("name", "devices")
    }
    _terminal.table(
        rows,
        ["node", "name", "cores", "memory", "devices"],
        cut_column=max(widths, key=lambda column: widths[column]),
        empty="no nodes; next: ember up",
    )
    for node in document["nodes"]:
        for line in unavailable(node["devices"]):
            _terminal.data(line)
    return _exit.OK
