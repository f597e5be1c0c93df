"""``ember key``: makes, lists and revokes the keys that open a server."""

from __future__ import annotations

from ember._client import quote, shared

from . import _exit, _terminal
from ._parser import Parser


def create_key(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember key create``."""
    parser = Parser(prog, summary)
    parser.add_argument("name", help="what it is for, such as ci")
    parser.add_json()
    options = parser.parse_args(argv)
    key = shared().post_json("/api/v1/keys", {"name": options.name})
    if options.json:
        _terminal.document(key)
        return _exit.OK
    _terminal.data(key["key"])
    _terminal.say(f"{key['name']} ({key['key_id']}): keep the text, it is not shown again")
    _terminal.say(f"next: export EMBER_KEY=...; to take it back: ember key revoke {key['name']}")
    return _exit.OK


def list_keys(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember key list``."""
    parser = Parser(prog, summary)
    parser.add_argument("--all", action="store_true", help="the revoked ones too")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/keys")
    if not options.all:
        document["keys"] = [key for key in document["keys"] if key["state"] != "revoked"]
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
        }
        for key in document["keys"]
    ]
    _terminal.table(rows, ["key", "name", "workspace", "state", "created"], cut_column="name")
    return _exit.OK


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
