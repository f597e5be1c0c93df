"""``ember logs``: what an app's functions wrote; also the live lines of ``ember run``."""

from __future__ import annotations

import sys

from ember._client import shared
from ember.exception import NotFoundError

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO


def logs(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember logs``."""
    parser = Parser(prog, summary)
    parser.add_argument("app")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    parser.add_argument("--function", help="only of this function")
    parser.add_argument("--call", metavar="ID", help="only of this call")
    parser.add_argument("--container", metavar="ID", help="only of this container")
    parser.add_argument(
        "--last",
        type=int,
        default=100,
        metavar="N",
        help="so many of the lines there are (default: %(default)s)",
    )
    parser.add_argument(
        "--since", metavar="WHEN", help="not before: 90s, 10m, 2h or 7d ago, or an ISO time"
    )
    parser.add_argument("--until", metavar="WHEN", help="not after, likewise; not with -f")
    parser.add_argument("--search", metavar="TEXT", help="only lines that have it, in any case")
    parser.add_argument("--json", action="store_true", help="print one JSON document a line")
    options = parser.parse_args(argv)
    if options.until and options.follow:
        raise usage_error(
            "--until has an end and -f has none",
            evidence="a log that is followed has no last line",
            next_step=f"ember logs {options.app} -f",
        )
    lines = shared().stream_ndjson(
        "/api/v1/logs",
        app=options.app,
        function=options.function,
        container=options.container,
        call=options.call,
        last=options.last,
        since_ms=when_ms("--since", options.since),
        until_ms=when_ms("--until", options.until),
        search=options.search or None,
        follow=options.follow or None,
    )
    try:
        for line in lines:
            write(line, options.json)
    except NotFoundError as error:
        from ._app import all_apps, unknown_app

        if options.app in [app["name"] for app in all_apps()]:
            raise
        raise unknown_app(options.app) from error
    return _exit.OK


def when_ms(option: str, text: str | None) -> int | None:
    """Return the time that is meant, in milliseconds since 1970: so long ago, or a date."""
    import time
    from datetime import datetime

    if text is None:
        return None
    units_s = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] in units_s and text[:-1].isdecimal():
        return max(0, int(time.time() * 1000) - int(text[:-1]) * units_s[text[-1]] * 1000)
    try:
        # Python 3.10 and older know no other mark of UTC than an offset.
        at = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return max(0, int(at.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise usage_error(
            f"{option}: {text!r} is no time",
            evidence="a time is so long ago (90s, 10m, 2h, 7d) or a date of ISO 8601, "
            "in this machine's zone where it names none",
            next_step=f"{option} 10m, or {option} 2026-01-31T09:00",
        ) from None


def write(line: dict[str, Any], as_json: bool) -> None:
    """Write a log document, as it is or for people."""
    if as_json:
        import json
        import re

        text = json.dumps(line, ensure_ascii=False)
        _terminal.data(re.sub("[\x7f-\x9f]", _terminal.escaped, text))
    else:
        for text in tagged(line, sys.stdout):
            _terminal.data(text)
    _terminal.flush()


def tagged(line: dict[str, Any], stream: TextIO) -> list[str]:
    """Return a log document as lines that begin with the time and the function's name."""
    import time

    if "at_ms" not in line:  # in place of lines that this client was too slow for
        return [_terminal.style(line["text"], "cyan", stream)]
    at = time.strftime("%H:%M:%S", time.localtime(line["at_ms"] / 1000))
    head = f"{at}.{line['at_ms'] % 1000:03d} {line['function']}"
    colour = {"stderr": "yellow", "system": "cyan"}.get(line["stream"])
    texts = [_terminal.harmless(text, stream) for text in line["text"].split("\n")]
    return [
        f"{_terminal.style(head, 'dim', stream)} "
        f"{_terminal.style(text, colour, stream) if colour else text}"
        for text in texts
    ]
