"""``ember lease``: a person has devices of the fleet to themselves for a time."""

from __future__ import annotations

from ember._client import quote, shared
from ember._settings import size_bytes

from . import _exit, _terminal
from ._key import lifetime_ms
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def lease_gpu(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember lease gpu``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "type", nargs="*", help="such as L4 or H100:2; of several the first that is free"
    )
    parser.add_argument("--vram", metavar="SIZE", help="a GPU with as much memory: 24GB")
    parser.add_argument(
        "--for",
        dest="length",
        type=lifetime_ms,
        required=True,
        metavar="TIME",
        help="it is given back by itself after so long: 2h, 45m, 1d",
    )
    parser.add_argument(
        "--wait", action="store_true", help="wait for one where none is free, before any function"
    )
    parser.add_json()
    options = parser.parse_args(argv)
    if not options.type and not options.vram:
        parser.error("say which GPU: a type such as L4, or --vram 24GB")
    wanted: dict[str, object] = {
        "gpu": options.type,
        "duration_ms": options.length,
        "wait": options.wait,
    }
    if options.vram:
        wanted["vram_bytes"] = size_bytes("--vram", options.vram)
    lease = shared().post_json("/api/v1/leases", wanted)
    if options.json:
        _terminal.document(lease)
        return _exit.OK
    _terminal.data(lease["lease_id"])
    _terminal.say(f"{_what(lease)} on {lease['node']}, until {_clock(lease['until_ms'])}")
    for device in lease["devices"]:
        _terminal.say(f"device {device['device_id']} {device['uuid']}".rstrip())
    if lease["simulated"]:
        _terminal.say("it is simulated: no program can use it")
    else:
        uuids = ",".join(device["uuid"] for device in lease["devices"])
        _terminal.say(f"next, on that machine: export CUDA_VISIBLE_DEVICES={uuids}")
    _terminal.say(f"to give it back before: ember lease end {lease['lease_id']}")
    return _exit.OK


def _what(lease: dict[str, Any]) -> str:
    """Return ``L4``, ``2 x H100`` or what one that waits asked for."""
    count = len(lease["devices"])
    text = f"{count} x {lease['gpu']}" if count > 1 else lease["gpu"]
    return f"{text} (simulated)" if lease["simulated"] else text


def _clock(at_ms: int) -> str:
    """Return a time to the minute, here."""
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))


def list_leases(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember lease list``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/leases")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "lease": lease["lease_id"],
            "gpu": _what(lease),
            "holder": lease["holder"],
            "node": lease["node"],
            "until": _clock(lease["until_ms"]) if lease["until_ms"] else "waits for one",
        }
        for lease in document["leases"]
    ]
    _terminal.table(
        rows,
        ["lease", "gpu", "holder", "node", "until"],
        cut_column="holder",
        empty="no leases; next: ember lease gpu L4 --for 2h",
    )
    return _exit.OK


def end_lease(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember lease end``."""
    parser = Parser(prog, summary)
    parser.add_argument("lease", help="its id, as `ember lease list` shows it")
    parser.add_json()
    options = parser.parse_args(argv)
    lease = shared().delete_json(f"/api/v1/leases/{quote(options.lease)}")
    if options.json:
        _terminal.document(lease)
        return _exit.OK
    _terminal.say(f"{_what(lease)} of {lease['node']} is back in the fleet")
    return _exit.OK
