"""``ember version``."""

from __future__ import annotations

import ember

from . import _exit, _terminal
from ._exit import CommandError
from ._parser import Parser
from ._server import find_emberd


def version(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember version``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    try:
        emberd = find_emberd()
    except CommandError:
        emberd = None
    if options.json:
        _terminal.document({"version": ember.__version__, "emberd": emberd})
    else:
        _terminal.data(f"ember {ember.__version__}")
        _terminal.say(f"emberd: {emberd or 'not found; make build, or set EMBER_EMBERD'}")
    return _exit.OK
