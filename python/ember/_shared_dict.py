"""Dictionaries that functions and their callers share, durable and by name.

A value is what was put, not the object itself: what is changed in it has to be put again. Each
method that blocks has a twin for async code, `await d.put.aio(...)`.
"""

from __future__ import annotations

from ember import _json
from ember import _shared_key as keys_as_text
from ember._aio import blocking, iterating
from ember._shared import MOST_BYTES, MOST_ITEMS, Handle, batch, encoded, read_batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from ember._shared import Item

_MOST_VALUE_BYTES = 64 << 20
_PAGE = 1000
_NOTHING = object()


class Dict(Handle):
    """A handle to a dictionary. Make one with `Dict.from_name` or `Dict.ephemeral`.

    Keys are any hashable values that pickle can carry, values whatever can be pickled.
    """

    kind = "dict"

    @blocking
    def put(self, key: object, value: object, *, skip_if_exists: bool = False) -> bool:
        """Puts a value; on disk when it returns. Whether it did, with `skip_if_exists=True`."""
        entry = (keys_as_text.encode(key), encoded(value, _MOST_VALUE_BYTES))
        return self._put([entry], skip_if_exists=skip_if_exists) == 1

    @blocking
    def update(
        self,
        other: Mapping[Any, object] | Iterable[tuple[object, object]] = (),
        /,
        **more: object,
    ) -> None:
        """Puts many: all or none of them, unless they take more than 32 MiB or are over 10,000."""
        pairs: dict[Any, object] = {**dict(other), **more}
        entries: list[tuple[str, bytes]] = []
        size_bytes = 0
        for key, value in pairs.items():
            data = encoded(value, _MOST_VALUE_BYTES)
            if entries and (size_bytes + len(data) > MOST_BYTES or len(entries) == MOST_ITEMS):
                self._put(entries)
                entries, size_bytes = [], 0
            entries.append((keys_as_text.encode(key), data))
            size_bytes += len(data)
        if entries:
            self._put(entries)

    def _put(self, entries: list[tuple[str, bytes]], *, skip_if_exists: bool = False) -> int:
        answer = self._ask("put", batch(entries), skip_if_exists=skip_if_exists or None)
        return _json.loads(answer)["put"]

    @blocking
    def get(self, key: object, default: Any = None) -> Any:
        """The value, or the default where there is none."""
        found = self._find("get", key)
        return found.value() if found else default

    @blocking
    def pop(self, key: object, default: Any = _NOTHING) -> Any:
        """Removes an entry and gives its value, to one caller alone; KeyError without a default."""
        found = self._find("pop", key)
        if found:
            return found.value()
        if default is _NOTHING:
            raise KeyError(key)
        return default

    @blocking
    def contains(self, key: object) -> bool:
        """Whether the key is there."""
        return self._find("get", key, values=False) is not None

    def _find(self, action: str, key: object, *, values: bool = True) -> Item | None:
        text = keys_as_text.encode(key)
        items, _ = read_batch(self._ask(action, key=text, values=values, batch=True))
        return items[0] if items else None

    @blocking
    def len(self) -> int:
        """How many entries there are."""
        return _json.loads(self._ask("show"))["entries"]

    @iterating
    def keys(self) -> Iterator[Any]:
        """The keys, page by page as they are needed.

        What is put or removed meanwhile may be among them or not; the rest is, once.
        """
        for entry in self._entries(values=False):
            yield keys_as_text.decode(entry.key)

    @iterating
    def values(self) -> Iterator[Any]:
        """The values, as `keys` has the keys."""
        for entry in self._entries(values=True):
            yield entry.value()

    @iterating
    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values, as `keys` has the keys."""
        for entry in self._entries(values=True):
            yield keys_as_text.decode(entry.key), entry.value()

    def _entries(self, *, values: bool) -> Iterator[Item]:
        after, more = "", True
        while more:
            answer = self._ask("page", after=after or None, limit=_PAGE, values=values or None)
            entries, more = read_batch(answer)
            yield from entries
            if entries:
                after = entries[-1].key

    @blocking
    def clear(self) -> None:
        """Removes all entries, at once."""
        self._ask("clear")

    @blocking
    def delete(self) -> None:
        """Removes the dictionary itself, with all that is in it."""
        self._ask("delete")

    @blocking
    def info(self) -> dict[str, Any]:
        """Its document: how many entries it has, and how many bytes they take."""
        return _json.loads(self._ask("show"))

    def __getitem__(self, key: object) -> Any:
        found = self._find("get", key)
        if found is None:
            raise KeyError(key)
        return found.value()

    def __setitem__(self, key: object, value: object) -> None:
        self.put(key, value)

    def __delitem__(self, key: object) -> None:
        self.pop(key)

    def __contains__(self, key: object) -> bool:
        return self.contains(key)

    def __len__(self) -> int:
        return self.len()

    def __iter__(self) -> Iterator[Any]:
        return self.keys()
