"""``ember webhook``: the ends of calls that URLs are told of."""

from __future__ import annotations

from ember._client import quote, shared

from . import _exit, _terminal
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = "/api/v1/webhooks"


def list_webhooks(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember webhook list``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "--state",
        choices=["waiting", "delivered", "dead"],
        help="dead: given up, after the last try or as the receiver wished",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the newest ones (default: 50)")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(_PATH, state=options.state, limit=options.limit)
    if options.json:
        _terminal.document(document)
        return _exit.OK
    _terminal.table(
        [_row(webhook) for webhook in document["webhooks"]],
        ["webhook", "type", "state", "tries", "next", "url", "outcome"],
        right=["tries"],
        cut_column="outcome",
        empty="no webhooks; next: fn.spawn.with_options(webhook=URL)(...)",
    )
    return _exit.OK


def _row(webhook: dict[str, Any]) -> dict[str, Any]:
    return {
        "webhook": webhook["webhook_id"],
        "type": webhook["type"],
        "state": webhook["state"],
        "tries": webhook["tries"],
        "next": _terminal.clock(webhook["next_try_ms"]),
        "url": webhook["url"],
        "outcome": webhook["outcome"],
    }


def show_webhook(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember webhook show``."""
    parser = Parser(prog, summary)
    parser.add_argument("id", help="as `ember webhook list` shows it")
    parser.add_json()
    options = parser.parse_args(argv)
    webhook = shared().get_json(f"{_PATH}/{quote(options.id)}")
    if options.json:
        _terminal.document(webhook)
        return _exit.OK
    lines = {**_row(webhook), "call": webhook["call_id"], "body": webhook["body"]}
    for name, value in lines.items():
        if value != "":
            _terminal.data(f"{name:<10}{value}")
    return _exit.OK


def replay(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember webhook replay``."""
    parser = Parser(prog, summary)
    parser.add_argument("ids", nargs="+", metavar="ID", help="as `ember webhook list` shows them")
    parser.add_json()
    options = parser.parse_args(argv)
    made = [shared().post_json(f"{_PATH}/{quote(one)}/replay") for one in options.ids]
    if options.json:
        _terminal.document({"webhooks": made})
        return _exit.OK
    for webhook in made:
        _terminal.tick(f"{webhook['webhook_id']} is sent again to {webhook['url']}")
    return _exit.OK


def secret(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember webhook secret``."""
    parser = Parser(prog, summary)
    parser.add_argument("--rotate", action="store_true", help="make a new one first")
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="SECONDS",
        help="with --rotate: how long the old one signs beside it (default: a day)",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    path = "/api/v1/webhook-secret"
    if options.rotate:
        from ember._client import encode_query

        document = shared().post_json(
            f"{path}/rotate{encode_query({'overlap_s': options.overlap})}"
        )
    else:
        document = shared().get_json(path)
    if options.json:
        _terminal.document(document)
        return _exit.OK
    _terminal.data(document["secret"])
    if document["previous_until_ms"]:
        _terminal.say(
            f"the one before signs too, until {_terminal.clock(document['previous_until_ms'])}"
        )
    return _exit.OK
