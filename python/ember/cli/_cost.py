"""``ember cost``, the bill, and ``ember prices list``, the book it is made with."""

from __future__ import annotations

from ember._client import shared

from . import _exit, _terminal
from ._app import get_app
from ._exit import usage_error
from ._parser import Parser, close_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WHAT = {"cpu": "core", "memory": "GiB", "egress": "GB out", "disk": "GiB on disk"}
_KEYS = ("app", "function", "day", "phase", "meter")
_METERS = ("gpu", "cpu", "memory", "egress", "disk")
_SELDOM = ("egress", "disk")  # without a column where nothing of it was used


def cost(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember cost``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "--by",
        default="app",
        metavar="KEYS",
        help="app, function, day, phase, meter, or some with commas between them "
        "(default: %(default)s)",
    )
    parser.add_argument("--app", help="only of this app")
    parser.add_json()
    options = parser.parse_args(argv)
    keys = _keys(options.by)
    document = shared().get_json("/api/v1/cost", by=",".join(keys), app=options.app)
    if options.app and not document["rows"]:
        get_app(options.app)  # or the error that there is none
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [_row(row, keys) for row in document["rows"]]
    shown = [key for key in keys if key != "app" or "function" not in keys]
    _terminal.table(
        rows,
        [*shown, *_used_columns(rows, keys), "usd"],
        right=[*_METERS, "used", "usd"],
        cut_column=next((name for name in ("function", "app") if name in keys), ""),
        empty=f"nothing of {options.app} is billed yet" if options.app else "nothing is billed yet",
    )
    _terminal.data(f"total {_terminal.money(document['total_usd'])}")
    if any(row.get("simulated") for row in document["rows"]):
        _terminal.say("* on simulated GPUs")
    elif document.get("note"):
        _terminal.say(document["note"])
    return _exit.OK


def _keys(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",") if key.strip()]
    for key in keys:
        if key not in _KEYS:
            raise usage_error(
                f"--by {key}: the bill cannot be cut that way",
                evidence=close_names(key, _KEYS) or f"one of: {', '.join(_KEYS)}",
                next_step="ember cost --by function",
            )
    # A function's name alone does not say whose it is.
    return ["app", *keys] if "function" in keys and "app" not in keys else keys


def _used_columns(rows: list[dict[str, Any]], keys: list[str]) -> list[str]:
    if "meter" in keys:
        return ["used"]  # each row is of one meter
    return [meter for meter in _METERS if meter not in _SELDOM or any(row[meter] for row in rows)]


def _row(row: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    gpu = _terminal.milliseconds(row["gpu_ms"]) if row["gpu_ms"] else ""
    used = {
        "gpu": f"{gpu} *" if gpu and row.get("simulated") else gpu,
        "cpu": f"{row['cpu_millicore_ms'] / 1e6:.3f} core s" if row["cpu_millicore_ms"] else "",
        "memory": f"{row['memory_mib_ms'] / 1024 / 1e3:.3f} GiB s" if row["memory_mib_ms"] else "",
        "egress": _gigabytes_out(row["egress_bytes"]),
        "disk": f"{row['disk_mib_ms'] / 1024 / 3.6e6:.3f} GiB h" if row["disk_mib_ms"] else "",
    }
    return {
        **used,
        "used": next((text for text in used.values() if text), ""),
        **{key: row[key] for key in keys},
        **({"function": f"{row['app']}.{row['function']}"} if "function" in keys else {}),
        "usd": _terminal.money(row["usd"]),
    }


def _gigabytes_out(value_bytes: int) -> str:
    """Return the bytes in the unit that they are priced by; a few are not none."""
    if value_bytes == 0:
        return ""
    return f"{value_bytes / 1e9:.3f} GB" if value_bytes >= 1e6 else "<0.001 GB"


def list_prices(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember prices list``."""
    parser = Parser(prog, summary)
    parser.add_argument("--provider", help="only of this provider")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/prices")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    prices = [row for row in document["prices"] if options.provider in (None, row["provider"])]
    if not prices:
        providers = sorted({row["provider"] for row in document["prices"]})
        raise usage_error(
            f"the price book has no provider {options.provider!r}",
            evidence=close_names(options.provider or "", providers)
            or f"it has: {', '.join(providers)}",
            next_step="ember prices list",
        )
    rows = [
        {
            "provider": row["provider"],
            "what": row.get("gpu") or _WHAT.get(row["meter"], row["meter"]),
            "kind": row["kind"],
            "usd": _terminal.money(row["usd"]),
            "since": row["valid_from"],
            "source": row["source"],
        }
        for row in prices
    ]
    _terminal.table(
        rows,
        ["provider", "what", "kind", "usd", "since", "source"],
        right=["usd"],
        cut_column="source",
    )
    _terminal.say("per hour of one GPU, core or GiB; egress per GB")
    return _exit.OK
