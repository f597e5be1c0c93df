"""Dictionaries and queues as the SDK sees them, without a server."""

from __future__ import annotations

import asyncio
import enum
import pickle
import queue
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_server import Answer, Asked, FakeServer, document

import ember
from ember import _client, _config, _shared, _shared_key
from ember.exception import (
    EmberError,
    InvalidArgumentError,
    NotFoundError,
    PayloadTooLargeError,
    ResourceExhaustedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Colour(enum.Enum):
    RED = 1


KEYS = [
    "a", "ü", "", "!", "a\0b", "\ud800", 0, 1, -1, 2**70, 1.5, True, None, b"bytes",
    ("a", 1), ("a", ("b", (None,))), frozenset(), frozenset({1, "a", (2, 3)}), Colour.RED,
]  # fmt: skip


# A set's repr differs from process to process.
@pytest.mark.parametrize("key", KEYS, ids=[str(place) for place in range(len(KEYS))])
def test_a_key_comes_back_from_its_text(key: Any) -> None:
    back = _shared_key.decode(_shared_key.encode(key))
    assert (type(back), back) == (type(key), key)


def test_a_text_is_its_own_key_and_others_have_a_mark() -> None:
    assert _shared_key.encode("a/b c") == "a/b c"
    assert len({_shared_key.encode(key) for key in [*KEYS, 1.0]}) == len(KEYS) + 1
    assert all(_shared_key.encode(key).isascii() for key in KEYS if key != "ü")


def test_equal_keys_have_one_text_whatever_objects_they_are_made_of() -> None:
    part = "".join(["x", "y"])
    shared, apart = (part, part), ("xy", "".join(["x", "y"]))
    assert _shared_key.encode(shared) == _shared_key.encode(apart)
    script = (
        "from ember import _shared_key\n"
        "print(_shared_key.encode((frozenset(map(str, range(50))), 'a')))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONPATH": p, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for p, seed in ((":".join(sys.path), "1"), (":".join(sys.path), "2"))
    }  # fmt: skip
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("key", "why"),
    [([1], "hashable"), ({}, "hashable"), ("x" * 2049, "2049 bytes"), (lambda: 1, "pickled")],
)
def test_what_cannot_be_a_key_is_refused(key: object, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        _shared_key.encode(key)


def test_a_handle_asks_no_server_and_travels_as_its_name() -> None:
    d = ember.Dict.from_name("settings", create_if_missing=True)
    again = pickle.loads(pickle.dumps(d))
    assert again == d and hash(again) == hash(d) and repr(again) == "<ember.Dict settings>"
    assert pickle.loads(pickle.dumps(ember.Queue.from_name("settings"))) != d
    for name in ("", "a/b", "x" * 64):
        with pytest.raises(InvalidArgumentError):
            ember.Dict.from_name(name)


class Stored:
    """A server with entries and items; what was asked, in a few words."""

    def __init__(self) -> None:
        self.entries: dict[str, _shared.Item] = {}
        self.items: list[_shared.Item] = []
        self.asked: list[str] = []
        self.page = 1000
        self.refuse: list[Answer] = []

    def answer(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
        self.asked.append(f"{asked.method} {parts.path.removeprefix('/api/v1/')}")
        if self.refuse:
            return self.refuse.pop(0)
        what = parts.path.rpartition("/")[2]
        if asked.method == "POST" and what in ("entries", "items"):
            return self.put(asked.body, query)
        if what == "entry":
            found = [self.entries[query["key"]]] if query["key"] in self.entries else []
            if asked.method == "DELETE" and found:
                del self.entries[query["key"]]
            return batch(found)
        if what == "entries":
            keys = sorted(key for key in self.entries if key > query.get("after", ""))
            more = len(keys) > self.page
            return batch([self.entries[key] for key in keys[: self.page]], more)
        if what == "take_items":
            taken = self.items[: int(query["count"])]
            del self.items[: len(taken)]
            return batch(taken)
        return document({"name": "x", "entries": len(self.entries), "items": len(self.items)})

    def put(self, body: bytes, query: dict[str, str]) -> Answer:
        line, _, rest = body.partition(b"\n")
        put = 0
        for item in _shared.read_batch(line[:-1] + b', "more": false}\n' + rest)[0]:
            if query.get("skip_if_exists") and item.key in self.entries:
                continue
            put += 1
            if item.key:
                self.entries[item.key] = item
            else:
                self.items.append(item)
        return document({"put": put})


def batch(items: list[_shared.Item], more: bool = False) -> Answer:
    parts = _shared.batch((item.key or None, item.data) for item in items)
    told = b', "more": true}' if more else b', "more": false}'
    return 200, {}, parts[0].rstrip()[:-1] + told + b"\n" + b"".join(parts[1:])


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stored]:
    kept = Stored()
    server = FakeServer(kept.answer)
    client = _client.Client(_config.Config(server.url, "ek-test"))
    monkeypatch.setattr(_client, "_shared", client)
    yield kept
    server.close()


def test_a_dict_is_used_as_a_dict_is(stored: Stored) -> None:
    d = ember.Dict.from_name("d")
    d["a"] = [1, 2]
    d[("b", 1)] = lambda: "by value"
    assert d["a"] == [1, 2] and d[("b", 1)]() == "by value"
    assert "a" in d and "c" not in d and len(d) == 2
    assert d.get("c") is None and d.get("c", 7) == 7
    assert not d.put("a", 2, skip_if_exists=True)
    assert d.pop("a") == [1, 2] and d.pop("a", None) is None
    for missing in (lambda: d["a"], lambda: d.pop("a"), lambda: d.__delitem__("a")):
        with pytest.raises(KeyError, match="a"):
            missing()


def test_pages_are_asked_for_as_they_are_needed(stored: Stored) -> None:
    stored.page = 2
    d = ember.Dict.from_name("d")
    d.update({"a": 1, "b": 2, "c": 3}, d=4, e=5)
    stored.asked.clear()
    keys = d.keys()
    assert next(keys) == "a"
    assert stored.asked == ["GET dicts/d/entries"]
    assert [*keys] == ["b", "c", "d", "e"]
    assert len(stored.asked) == 3
    assert dict(d.items()) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}

    async def values() -> list[int]:
        return [value async for value in d.values.aio()]

    assert asyncio.run(values()) == [1, 2, 3, 4, 5]


def test_an_update_of_many_goes_in_several_requests(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ember._shared_dict.MOST_ITEMS", 3)
    ember.Dict.from_name("d").update({n: n for n in range(7)})
    assert stored.asked == ["POST dicts/d/entries"] * 3
    assert len(stored.entries) == 7


def test_what_is_missing_is_made_where_that_was_asked_for(stored: Stored) -> None:
    q = ember.Queue.from_name("q", create_if_missing=True)
    q.put(1)
    q.put(2)
    assert stored.asked == ["POST queues", "POST queues/q/items", "POST queues/q/items"]


def test_items_come_in_their_order_and_in_any_way_of_asking(stored: Stored) -> None:
    q = ember.Queue.from_name("q")
    q.put_many(range(6))
    assert q.get() == 0 and q.get_many(2) == [1, 2] and asyncio.run(q.get.aio()) == 3
    assert asyncio.run(q.get_many.aio(9, timeout=1)) == [4, 5]
    assert q.get(block=False) is None and q.get_many(1, block=False) == []
    for get in (q.get, lambda timeout: asyncio.run(q.get.aio(timeout=timeout))):
        with pytest.raises(queue.Empty):
            get(timeout=0)


def test_a_full_partition_is_tried_again_until_there_is_room(stored: Stored) -> None:
    limit = {"name": "partition_items", "value": 100_000}
    full = document({"error": {"code": "resource_exhausted", "message": "f", "limit": limit}}, 429)
    q = ember.Queue.from_name("q")
    stored.refuse = [full, full]
    q.put(1)
    assert len(stored.items) == 1 and len(stored.asked) == 3
    for refused in (lambda: q.put(2, block=False), lambda: q.put_many([2], timeout=0)):
        stored.refuse = [full]
        with pytest.raises(queue.Full):
            refused()
    other = document({"error": {"code": "resource_exhausted", "message": "busy"}}, 429)
    stored.refuse = [other]
    with pytest.raises(ResourceExhaustedError):
        q.put(2)


def test_one_that_is_not_there_shows_when_it_is_used(stored: Stored) -> None:
    stored.refuse = [document({"error": {"code": "not_found", "message": "no dict d"}}, 404)]
    with pytest.raises(NotFoundError, match="no dict d"):
        ember.Dict.from_name("d").get("a")


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda q: q.put(bytes(2 << 20)), PayloadTooLargeError),
        (lambda q: q.put(1, partition=""), InvalidArgumentError),
        (lambda q: q.put(1, partition="x" * 65), InvalidArgumentError),
        (lambda q: q.put(1, partition_ttl=0), InvalidArgumentError),
        (lambda q: q.put(1, partition_ttl=8 * 24 * 3600), InvalidArgumentError),
        (lambda q: q.get(timeout=-1), InvalidArgumentError),
        (lambda q: q.get_many(0), InvalidArgumentError),
        (lambda q: q.put(n for n in range(3)), InvalidArgumentError),
    ],
)
def test_what_cannot_be_is_refused_before_a_server_is_asked(
    stored: Stored, use: Callable[[Any], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        use(ember.Queue.from_name("q"))
    assert stored.asked == []


def test_values_of_others_come_as_they_are() -> None:
    assert _shared.decoded("json", b'{"a": 1}') == {"a": 1}
    assert _shared.decoded("bytes", b"\xff") == b"\xff"
    for format, data in (("json", b"hello"), ("pickle", b"\x80\x04cnowhere\nX\n.")):
        with pytest.raises(EmberError, match="rebuilt"):
            _shared.decoded(format, data)
