"""JSON through CPython's own C functions.

The package `json` imports `re` and `enum`, which takes about as long as the interpreter's whole
start: too long for a runner and for a command. Strict both ways: no NaN, UTF-8 only.
"""

from __future__ import annotations

from _json import (  # pyright: ignore[reportMissingModuleSource]
    encode_basestring,  # pyright: ignore[reportAttributeAccessIssue]
    make_encoder,
    make_scanner,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITE = " \t\n\r"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class _Decoding:
    """What the C scanner looks up once."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


# The value at an index of a text, and the index behind it.
scan: Callable[[str, int], tuple[Any, int]] = make_scanner(
    _Decoding  # pyright: ignore[reportArgumentType]
)
# What `scan` raises where there is none. SystemError: it wants `json.decoder` for its own error.
NO_JSON = (StopIteration, ValueError, SystemError, RecursionError)


def encoder(default: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    """Gives the pieces of a value's compact form. TypeError, ValueError or RecursionError where
    it has none: there is no table of containers on the way, a circle ends as the latter."""
    return make_encoder(None, default, encode_basestring, None, ":", ",", False, False, False)


def _no_form(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_pieces = encoder(_no_form)


def loads(data: Any) -> Any:
    """The value of a document, text or UTF-8; ValueError where it isn't one."""
    text = (data if isinstance(data, str) else str(data, "utf-8")).strip(_WHITE)
    try:
        value, end = scan(text, 0)
        if end == len(text):
            return value
    except NO_JSON:
        pass
    import json  # to say what is wrong with it

    return json.loads(text, parse_constant=_refuse_constant)


def dumps(value: object) -> str:
    """The compact form of plain data."""
    return "".join(_pieces(value, 0))
