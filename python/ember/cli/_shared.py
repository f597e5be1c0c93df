"""``ember dict`` and ``ember queue``: makes them, and looks into them."""

from __future__ import annotations

import sys

from ember import _json, _shared, _shared_key
from ember._client import shared, shared_path
from ember._shared_dict import Dict
from ember._shared_queue import Queue

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_SHOWN = 50
_MOST_SHOWN = 10_000


def create_dict(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict create``."""
    return _create("dict", prog, summary, argv)


def create_queue(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue create``."""
    return _create("queue", prog, summary, argv)


def list_dicts(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict list``."""
    return _list("dict", "entries", prog, summary, argv)


def list_queues(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue list``."""
    return _list("queue", "items", prog, summary, argv)


def clear_dict(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict clear``."""
    options = _parser("dict", prog, summary).parse_args(argv)
    Dict.from_name(options.name).clear()
    return _done(options, "is empty")


def clear_queue(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue clear``."""
    parser = _parser("queue", prog, summary)
    _add_partition(parser, "this one alone (default: all of them)")
    options = parser.parse_args(argv)
    Queue.from_name(options.name).clear(partition=options.partition, all=not options.partition)
    return _done(options, f"has no items in {options.partition or 'any partition'}")


def delete_dict(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict delete``."""
    options = _parser("dict", prog, summary).parse_args(argv)
    Dict.from_name(options.name).delete()
    return _done(options, "is gone")


def delete_queue(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue delete``."""
    options = _parser("queue", prog, summary).parse_args(argv)
    Queue.from_name(options.name).delete()
    return _done(options, "is gone")


def get_entry(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict get``."""
    parser = _key_parser(prog, summary)
    options = parser.parse_args(argv)
    key = _shared_key.encode(_key(options))
    answer = _shared.ask("dict", options.name, "get", key=key, values=True, batch=True)
    found, _ = _shared.read_batch(answer)
    if not found:
        raise usage_error(
            f"{options.name} has no key {options.key}", next_step=f"ember dict items {options.name}"
        )
    if options.json:
        _terminal.document({"value": _plain(found[0])})
    elif found[0].format == "bytes":
        _terminal.flush()
        sys.stdout.buffer.write(found[0].data)
        sys.stdout.buffer.flush()
    else:
        _terminal.data(_terminal.harmless(_text(found[0]), sys.stdout))
    return _exit.OK


def put_entry(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict put``."""
    parser = _key_parser(prog, summary)
    parser.add_argument("value", help="as JSON where it is JSON, else as text")
    options = parser.parse_args(argv)
    Dict.from_name(options.name).put(_key(options), _value(options.value))
    return _done(options, f"has {options.key}")


def list_entries(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dict items``."""
    parser = _parser("dict", prog, summary)
    _add_limit(parser)
    options = parser.parse_args(argv)
    rows = [
        {"key": _key_text(item.key), "value": _plain(item), "size_bytes": len(item.data)}
        for item in _pages("dict", options)
    ]
    return _show(options, rows, "key", f"{options.name} is empty")


def peek(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue peek``."""
    parser = _parser("queue", prog, summary)
    _add_partition(parser, "which (default: that of items without one)")
    _add_limit(parser)
    options = parser.parse_args(argv)
    rows = [
        {"sequence": item.sequence, "value": _plain(item), "size_bytes": len(item.data)}
        for item in _pages("queue", options, partition=options.partition or "")
    ]
    return _show(options, rows, "sequence", f"{options.name} has no items there")


def put_item(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue put``."""
    parser = _parser("queue", prog, summary)
    parser.add_argument("value", help="as JSON where it is JSON, else as text")
    _add_partition(parser, "where to (default: none)")
    options = parser.parse_args(argv)
    queue = Queue.from_name(options.name)
    queue.put(_value(options.value), block=False, partition=options.partition)
    return _done(options, "has one more item")


def length(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember queue len``."""
    parser = _parser("queue", prog, summary)
    _add_partition(parser, "of this one alone (default: of all)")
    options = parser.parse_args(argv)
    queue = Queue.from_name(options.name)
    count = queue.len(partition=options.partition, total=not options.partition)
    if options.json:
        _terminal.document({"name": options.name, "items": count})
    else:
        _terminal.data(str(count))
    return _exit.OK


def _create(kind: str, prog: str, summary: str, argv: list[str]) -> int:
    options = _parser(kind, prog, summary).parse_args(argv)
    made = shared().post_json(shared_path(kind), {"name": options.name})
    if options.json:
        _terminal.document(made)
        return _exit.OK
    _terminal.say(f"{made['name']} is there, and empty")
    _terminal.say(f'next: ember.{kind.capitalize()}.from_name("{made["name"]}")')
    return _exit.OK


def _list(kind: str, counted: str, prog: str, summary: str, argv: list[str]) -> int:
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(shared_path(kind))
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            kind: one["name"],
            counted: one[counted],
            "size": _terminal.size(one["size_bytes"]),
            "made": _terminal.ago(one["created_ms"]),
            "kept": "while in use" if one["ephemeral"] else "until deleted",
        }
        for one in document[f"{kind}s"]
    ]
    _terminal.table(
        rows, [kind, counted, "size", "made", "kept"], right=[counted, "size"], cut_column=kind,
        empty=f"no {kind}s; next: ember {kind} create NAME",
    )  # fmt: skip
    return _exit.OK


def _pages(kind: str, options: argparse.Namespace, **fields: Any) -> Iterator[_shared.Item]:
    """The first items, with their values."""
    left, after, more = options.limit, None, True
    while more and left > 0:
        answer = _shared.ask(
            kind, options.name, "page", after=after, limit=left, values=True, **fields
        )
        items, more = _shared.read_batch(answer)
        yield from items
        left -= len(items)
        if items:
            after = items[-1].key if kind == "dict" else str(items[-1].sequence)


def _show(options: argparse.Namespace, rows: list[dict[str, Any]], first: str, empty: str) -> int:
    if options.json:
        _terminal.document({"items": rows})
        return _exit.OK
    shown = [
        {
            first: _terminal.harmless(str(row[first]), sys.stdout),
            "size": _terminal.size(row["size_bytes"]),
            "value": _terminal.harmless(_json_text(row["value"]), sys.stdout),
        }
        for row in rows
    ]
    _terminal.table(
        shown, [first, "size", "value"], right=["size"], cut_column="value", empty=empty
    )
    return _exit.OK


def _plain(item: _shared.Item) -> Any:
    """A value as JSON has it; of what only code could rebuild, what it is. Runs none."""
    if item.format == "json":
        return item.value()
    if item.format == "bytes":
        return f"<{len(item.data)} bytes>"
    try:
        value = _plain_pickle(item.data)
        _json.dumps(value)
    except Exception:
        return f"<a pickle of {len(item.data)} bytes>"
    return value


def _plain_pickle(data: bytes) -> Any:
    import io
    import pickle

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data")

    return Reader(io.BytesIO(data)).load()


def _text(item: _shared.Item) -> str:
    value = _plain(item)
    return value if isinstance(value, str) else _json_text(value)


def _json_text(value: object) -> str:
    return value if isinstance(value, str) and value.startswith("<") else _json.dumps(value)


def _key_text(text: str) -> str:
    """A key as Python writes it, if it is plain; a text as it is."""
    if not text.startswith("!"):
        return text
    import binascii

    try:
        return repr(_plain_pickle(binascii.a2b_base64(text[1:])))
    except Exception:
        return text


def _key(options: argparse.Namespace) -> Any:
    if not options.literal:
        return options.key
    import ast

    try:
        return ast.literal_eval(options.key)
    except (ValueError, SyntaxError, TypeError):
        raise usage_error(f"{options.key!r} is no Python literal", next_step="") from None


def _value(text: str) -> Any:
    try:
        return _json.loads(text)
    except ValueError:
        return text


def _parser(kind: str, prog: str, summary: str) -> Parser:
    parser = Parser(prog, summary)
    parser.add_argument("name", help=f"of the {kind}")
    parser.add_json()
    return parser


def _key_parser(prog: str, summary: str) -> Parser:
    parser = _parser("dict", prog, summary)
    parser.add_argument("key", help="a text, unless --literal says otherwise")
    parser.add_argument(
        "--literal", action="store_true", help="the key is a Python literal, such as 7 or (1, 2)"
    )
    return parser


def _add_partition(parser: Parser, text: str) -> None:
    parser.add_argument("--partition", metavar="NAME", help=text)


def _add_limit(parser: Parser) -> None:
    parser.add_argument(
        "--limit", type=_limit, default=_SHOWN, metavar="N", help=f"at most (default: {_SHOWN})"
    )


def _limit(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_SHOWN:
        raise ValueError
    return count


def _done(options: argparse.Namespace, what: str) -> int:
    if options.json:
        _terminal.document({"name": options.name})
    else:
        _terminal.say(f"{options.name} {what}")
    return _exit.OK
