"""``ember function scale APP.FUNCTION``: how many containers it may and must have, changed live."""

from __future__ import annotations

from ember._client import function_path, shared
from ember._settings import options_spec

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

_NAMES = ("min_containers", "max_containers", "buffer_containers", "scaledown_window")


def scale(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember function scale``."""
    parser = Parser(prog, f"{summary}; what is not given stays as it is")
    parser.add_argument("function", metavar="APP.FUNCTION")
    parser.add_argument("--min-containers", type=int, metavar="N", help="kept when idle")
    parser.add_argument("--max-containers", type=int, metavar="N", help="never exceeded")
    parser.add_argument("--buffer-containers", type=int, metavar="N", help="idle, while in use")
    parser.add_argument("--scaledown-window", type=float, metavar="S", help="longest idle time")
    parser.add_json()
    options = parser.parse_args(argv)
    app, _, function = options.function.rpartition(".")
    if not app:
        raise usage_error(
            f"{options.function!r} is not APP.FUNCTION", next_step="ember function list"
        )
    given = {name: getattr(options, name) for name in _NAMES}
    body = options_spec({name: value for name, value in given.items() if value is not None})
    answer = shared().post_json(function_path(app, function, "autoscaler", None), body)
    if options.json:
        _terminal.document(answer)
        return _exit.OK
    answer["scaledown_window"] = f"{answer.pop('scaledown_window_ms') / 1000:g} s"
    _terminal.table([answer], _NAMES, right=_NAMES)
    _terminal.say("until the next deploy")
    return _exit.OK
