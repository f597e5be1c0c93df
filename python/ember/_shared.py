"""What dictionaries and queues have in common: handles, requests, and values as they travel.

A handle talks to no server until it is used, and is pickled as its name. In a container requests go
over the runner's own socket, elsewhere over HTTP.
"""

from __future__ import annotations

from contextlib import contextmanager

from ember import _context, _json
from ember._settings import check_name
from ember.exception import EmberError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from typing_extensions import Self

MOST_ITEMS = 10_000  # of one request
MOST_BYTES = 32 << 20  # of one request, but for a single value
# What is asked of one by its name: the method, and what follows the name in the path.
_ROUTES = {
    ("dict", "put"): ("POST", "/entries"),
    ("dict", "get"): ("GET", "/entry"),
    ("dict", "pop"): ("DELETE", "/entry"),
    ("dict", "page"): ("GET", "/entries"),
    ("queue", "put"): ("POST", "/items"),
    ("queue", "take"): ("POST", "/take_items"),
    ("queue", "page"): ("GET", "/items"),
}


class Item:
    """One of a batch: `key` of an entry, `sequence` of a queue's item."""

    __slots__ = ("data", "format", "key", "sequence")

    def __init__(self, key: str, sequence: int, format: str, data: bytes) -> None:
        self.key = key
        self.sequence = sequence
        self.format = format
        self.data = data

    def value(self) -> Any:
        """The value; what is no pickle was put over HTTP by others."""
        return decoded(self.format, self.data)


class Handle:
    """A dictionary or a queue by its name."""

    kind = ""

    def __init__(self, name: str, *, create_if_missing: bool = False) -> None:
        self.name = check_name(self.kind, name)
        self._create_if_missing = create_if_missing
        self._made = False

    @classmethod
    def from_name(cls, name: str, *, create_if_missing: bool = False) -> Self:
        """The one of this name. Asks no server: one that is missing shows when it is used."""
        return cls(name, create_if_missing=create_if_missing)

    @classmethod
    @contextmanager
    def ephemeral(cls) -> Iterator[Self]:
        """A new one for the length of a `with` block; it goes with this process."""
        import secrets

        from ember._heartbeat import beating

        name = f"ephemeral-{secrets.token_hex(6)}"
        _create(cls.kind, name, ephemeral=True)
        try:
            with beating(lambda: ask(cls.kind, name, "heartbeat")):
                yield cls(name)
        finally:
            ask(cls.kind, name, "delete")

    def _ask(self, action: str, data: Sequence[bytes] = (), **fields: object) -> bytes:
        """The answer to a request; it is made first, if that was asked for and it isn't there."""
        self._ensure()
        return ask(self.kind, self.name, action, data, **fields)

    def _ensure(self) -> None:
        if self._create_if_missing and not self._made:
            _create(self.kind, self.name, ephemeral=False)
            self._made = True

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.name, self._create_if_missing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and (self.kind, self.name) == (other.kind, other.name)

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __repr__(self) -> str:
        return f"<ember.{type(self).__name__} {self.name}>"


def _rebuilt(cls: type[Handle], name: str, create_if_missing: bool) -> Handle:
    return cls(name, create_if_missing=create_if_missing)


def ask(kind: str, name: str, action: str, data: Sequence[bytes] = (), **fields: object) -> bytes:
    """Asks something of a dictionary or a queue; fields of None are left out."""
    if _context.in_container:
        from ember.runner import _calls

        return _calls.shared(_head(kind, name, action, fields), b"".join(data))
    from ember import _client

    method, path = _route(kind, name, action, fields)
    return _client.shared().exchange(method, path, *data)


async def ask_async(kind: str, name: str, action: str, **fields: object) -> bytes:
    """The same on the running event loop. Cancelling the awaiting task withdraws the request."""
    if _context.in_container:
        from ember.runner import _calls

        return await _calls.shared_async(_head(kind, name, action, fields))
    from ember import _client

    method, path = _route(kind, name, action, fields)
    return await _client.shared().exchange_async(method, path)


def _head(kind: str, name: str, action: str, fields: dict[str, object]) -> dict[str, object]:
    told = {key: value for key, value in fields.items() if value is not None and key != "batch"}
    return {"kind": kind, "name": name, "action": action, **told}


def _route(kind: str, name: str, action: str, fields: dict[str, object]) -> tuple[str, str]:
    from ember import _client

    default = ("GET", "") if action == "show" else ("POST", f"/{action}")
    method, rest = _ROUTES.get((kind, action), default)
    return method, _client.shared_path(kind, name) + rest + _client.encode_query(fields)


def _create(kind: str, name: str, *, ephemeral: bool) -> None:
    if _context.in_container:
        ask(kind, name, "create", ephemeral=ephemeral)
        return
    from ember import _client

    wanted = {"name": name, "ephemeral": ephemeral, "may_exist": not ephemeral}
    _client.shared().post_json(_client.shared_path(kind), wanted)


def batch(items: Iterable[tuple[str | None, bytes]]) -> list[bytes]:
    """Pickles, with their keys where they are entries, as one body."""
    heads, data = [], [b""]
    for key, value in items:
        head = {"format": "pickle", "size_bytes": len(value)}
        heads.append(head if key is None else {"key": key, **head})
        data.append(value)
    data[0] = (_json.dumps({"items": heads}) + "\n").encode()
    return data


def read_batch(body: bytes) -> tuple[list[Item], bool]:
    """The items of an answer, and whether others follow; without values data is empty."""
    line, _, rest = body.partition(b"\n")
    head = _json.loads(line)
    items, begin = [], 0
    for told in head["items"]:
        end = begin + told["size_bytes"]
        data = rest[begin:end]
        items.append(Item(told.get("key", ""), told.get("sequence", 0), told["format"], data))
        begin = end
    return items, head["more"]


def encoded(value: object, most_bytes: int) -> bytes:
    """A value as it travels."""
    import pickle

    try:
        data = pickle.dumps(value, 5)
    except Exception:
        data = _by_value(value)
    if len(data) > most_bytes:
        from ember.exception import PayloadTooLargeError

        raise PayloadTooLargeError(
            f"the value takes {len(data)} bytes, the limit is {most_bytes}; "
            "keep it in a volume, and its path here"
        )
    return data


def _by_value(value: object) -> bytes:
    """Lambdas, closures and types made at run time."""
    import cloudpickle

    try:
        return cloudpickle.dumps(value, 5)
    except Exception as error:
        raise InvalidArgumentError(f"the value can't be pickled: {error}") from error


def decoded(format: str, data: bytes) -> Any:
    """A value that has come."""
    if format == "bytes":
        return data
    try:
        if format == "json":
            return _json.loads(data)
        import pickle

        return pickle.loads(data)
    except Exception as error:
        raise EmberError(
            f"the value can't be rebuilt here: {type(error).__name__}: {error}; "
            "its type must be importable by who reads it"
        ) from error
