"""``ember call graph``: a call and all that it has called, as a tree."""

from __future__ import annotations

from ember._client import shared

from . import _exit, _terminal
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MOST_CHILDREN = 20  # of one call that are drawn; --json has all


def show_graph(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call graph``."""
    parser = Parser(prog, summary)
    parser.add_argument("id", help="as `ember call list` shows it")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(f"/api/v1/calls/{options.id}/graph")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    root = document["call"]
    rows = list(_rows(root, "", ""))
    _terminal.table(
        rows,
        ["call", "function", "state", "waited", "ran", "usd"],
        right=["waited", "ran", "usd"],
        cut_column="function",
    )
    if root["children"]:
        _terminal.data(
            f"{document['calls']} calls, {_terminal.money(root['tree_cost_usd'])} in all"
        )
    if root["parent_call_id"]:
        _terminal.say(f"it was made by {root['parent_call_id']}")
    if not document["whole"]:
        _terminal.say("there are more; not all are drawn")
    for why in _reasons(root):
        _terminal.say(why)
    return _exit.OK


def _rows(call: dict[str, Any], own: str, below: str) -> Iterator[dict[str, object]]:
    yield {
        "call": own + call["call_id"],
        "function": f"{call['app']}.{call['function']}",
        "state": call["state"],
        "waited": _terminal.seconds(call["queued_us"] / 1e6),
        "ran": _terminal.seconds(call["execute_us"] / 1e6) if call["execute_us"] else "",
        "usd": _terminal.money(call["cost_usd"]),
    }
    tee, corner, bar = _branches()
    children = call["children"]
    for child in children[:_MOST_CHILDREN]:
        is_last = child is children[-1]
        yield from _rows(
            child, below + (corner if is_last else tee), below + ("   " if is_last else bar)
        )
    if len(children) > _MOST_CHILDREN:
        yield {"call": f"{below}{corner}and {len(children) - _MOST_CHILDREN} more"}


def _branches() -> tuple[str, str, str]:
    if _terminal.symbol("├─ ", "") and _terminal.symbol("└─ ", ""):
        return "├─ ", "└─ ", "│  "
    return "|- ", "`- ", "|  "


def _reasons(call: dict[str, Any]) -> Iterator[str]:
    """Yield why calls wait that have not begun."""
    if call["state"] == "waiting" and call.get("reason"):
        yield f"{call['call_id']} {call['reason']}"
    for child in call["children"][:_MOST_CHILDREN]:
        yield from _reasons(child)
