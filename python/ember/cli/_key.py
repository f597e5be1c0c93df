"""``ember key``: makes, lists and revokes the keys that open a server."""

from __future__ import annotations

import argparse

from ember._client import quote, shared

from . import _exit, _terminal
from ._parser import Parser

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def create_key(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember key create``."""
    parser = Parser(prog, summary)
    parser.add_argument("name", help="what it is for, such as ci")
    parser.add_argument(
        "--expires",
        type=lifetime_ms,
        metavar="TIME",
        help="it opens nothing any more after so long: 30d, 12h, 45m or 90s (default: never)",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    wanted: dict[str, object] = {"name": options.name}
    if options.expires:
        wanted["lifetime_ms"] = options.expires
    key = shared().post_json("/api/v1/keys", wanted)
    if options.json:
        _terminal.document(key)
        return _exit.OK
    _terminal.data(key["key"])
    _terminal.say(f"{key['name']} ({key['key_id']}): keep the text, it is not shown again")
    _terminal.say(f"next: export EMBER_KEY=...; to take it back: ember key revoke {key['name']}")
    return _exit.OK


def lifetime_ms(text: str) -> int:
    """Return the milliseconds of ``30d``, ``12h``, ``45m`` or ``90s``."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is none of 30d, 12h, 45m, 90s")
    return int(number) * _UNITS_S[unit] * 1000


def list_keys(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember key list``."""
    parser = Parser(prog, summary)
    parser.add_argument("--all", action="store_true", help="the revoked and expired ones too")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/keys")
    if not options.all:
        document["keys"] = [key for key in document["keys"] if key["state"] == "usable"]
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "key": key["key_id"],
            "name": key["name"],
            "workspace": key["workspace"],
            "state": "of the data directory" if key["own"] else key["state"],
            "created": _terminal.ago(key["created_ms"]),
            "expires": _date(key["expires_ms"]),
        }
        for key in document["keys"]
    ]
    columns = ["key", "name", "workspace", "state", "created", "expires"]
    _terminal.table(rows, columns, cut_column="name")
    return _exit.OK


def _date(at_ms: int | None) -> str:
    """Return a time to the minute, here; ``never`` for none."""
    import time

    if at_ms is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))


def revoke_key(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember key revoke``."""
    parser = Parser(prog, summary)
    parser.add_argument("key", help="its name or id")
    parser.add_json()
    options = parser.parse_args(argv)
    key = shared().post_json(f"/api/v1/keys/{quote(options.key)}/revoke")
    if options.json:
        _terminal.document(key)
        return _exit.OK
    _terminal.say(f"{key['name']} ({key['key_id']}) opens nothing any more")
    return _exit.OK
