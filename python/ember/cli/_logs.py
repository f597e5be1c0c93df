"""``ember logs``: what an app's functions wrote; also the live lines of ``ember run``."""

from __future__ import annotations

import sys

from ember._client import shared
from ember.exception import NotFoundError

from . import _exit, _terminal
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
    parser.add_argument("--json", action="store_true", help="print one JSON document a line")
    options = parser.parse_args(argv)
    lines = shared().stream_ndjson(
        "/api/v1/logs",
        app=options.app,
        function=options.function,
        container=options.container,
        call=options.call,
        last=options.last,
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
