"""What @ember.batched makes of functions and methods, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ember
from ember.exception import InvalidArgumentError

app = ember.App("test")


@app.function()
@ember.batched(max_batch_size=32, wait_ms=5)
def below(x: list[int], y: list[str] | None = None, *, z: Any = 1) -> list[int]:
    return x


@ember.batched(max_batch_size=4, wait_ms=0)
@ember.concurrent(max_inputs=2)
@app.function()
def above(x: list) -> list:  # pyright: ignore[reportMissingTypeArgument]
    return x


@ember.concurrent(max_inputs=3)
@app.cls()
class Model:
    @ember.method()
    @ember.batched(max_batch_size=8, wait_ms=20)
    def embed(self, text: list[str]) -> list[int]:
        return [len(one) for one in text]


@app.cls()
class Above:
    @ember.batched(max_batch_size=8, wait_ms=20)
    @ember.method()
    async def embed(self, text: list[str]) -> list[int]:
        return [len(one) for one in text]


def size_and_wait(spec: dict[str, Any]) -> tuple[int, int]:
    return spec["max_batch_size"], spec["batch_wait_ms"]


def test_a_deploy_says_how_large_batches_are_and_how_long_they_wait() -> None:
    assert size_and_wait(below.spec()) == (32, 5)
    assert size_and_wait(above.spec()) == (4, 0)
    assert above.spec()["max_inputs"] == 2
    for cls in (Model, Above):
        assert size_and_wait(cls.spec()) == (8, 20)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_call_gives_one_element_of_each_list() -> None:
    told = [(p["name"], p["annotation"], p["required"]) for p in below.spec()["parameters"]]
    assert told == [("x", "int", True), ("y", "any", False), ("z", "any", False)]
    (method,) = Model.spec()["methods"]  # pyright: ignore[reportAttributeAccessIssue]
    assert [p["annotation"] for p in method["parameters"]] == ["str"]


def test_local_is_the_function_as_written() -> None:
    assert below.local([1, 2]) == [1, 2]
    assert Model().embed.local(["a", "bc"]) == [1, 2]


def test_with_batching_is_a_pool_of_its_own() -> None:
    other = below.with_batching(max_batch_size=2, wait_ms=7)
    assert other.variant is not None
    assert size_and_wait(other.variant.options) == (2, 7)
    cls: Any = Model
    both = cls.with_options(timeout=9).with_batching(max_batch_size=2, wait_ms=7)
    assert both.options == {"timeout_ms": 9000, "max_batch_size": 2, "batch_wait_ms": 7}
    named = ember.Cls.from_name("a", "B").with_batching(max_batch_size=2, wait_ms=7)
    assert size_and_wait(named.options) == (2, 7)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_batch_size": 0, "wait_ms": 1}, "max_batch_size: 0 is not between 1 and 1000"),
        ({"max_batch_size": 1001, "wait_ms": 1}, "is not between 1 and 1000"),
        ({"max_batch_size": 2.5, "wait_ms": 1}, "max_batch_size: expected int, got float"),
        ({"max_batch_size": 2, "wait_ms": -1}, "wait_ms: -1 is not between 0 and 600000"),
        ({"max_batch_size": 2, "wait_ms": "5"}, "wait_ms: expected int, got str"),
        ({"max_batch_size": None, "wait_ms": 5}, "give both max_batch_size and wait_ms"),
    ],
)
def test_sizes_and_waits_are_within_bounds(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        ember.batched(**settings)


def generator(x: list[int]) -> Any:
    yield x


async def async_generator(x: list[int]) -> Any:
    yield x


def of_many(*x: list[int]) -> Any:
    return x


def of_any(**x: list[int]) -> Any:
    return x


def of_none() -> Any:
    return []


class Plain:
    pass


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (generator, "generator: a generator can't be batched"),
        (async_generator, "a generator can't be batched"),
        (of_many, r"of_many: a batched function can't take \*x"),
        (of_any, r"a batched function can't take \*x"),
        (of_none, "has at least one"),
        (Plain, "for functions and for methods of classes"),
        (3, "for functions and for methods of classes"),
    ],
)
def test_what_can_not_take_lists_is_refused(raw: Callable[..., Any], text: str) -> None:
    mark = ember.batched(max_batch_size=2, wait_ms=1)
    with pytest.raises(InvalidArgumentError, match=text):
        ember.App("other").function()(mark(raw))
    if callable(raw) and not isinstance(raw, type):
        with pytest.raises(InvalidArgumentError, match=text):
            mark(ember.App("other").function()(raw))


def test_a_method_takes_something_beside_self() -> None:
    def method(self: Any) -> Any:
        return self

    with pytest.raises(InvalidArgumentError, match="has at least one"):
        ember.method()(ember.batched(max_batch_size=2, wait_ms=1)(method))


def test_a_class_with_a_batched_method_has_no_other() -> None:
    class Two:
        @ember.method()
        @ember.batched(max_batch_size=2, wait_ms=1)
        def a(self, x: list[int]) -> list[int]:
            return x

        @ember.method()
        def b(self) -> int:
            return 1

    Two.__qualname__ = "Two"
    with pytest.raises(InvalidArgumentError, match=r"has no other method; .* it has a, b"):
        ember.App("other").cls()(Two)


def test_a_class_is_not_batched_as_a_whole() -> None:
    with pytest.raises(InvalidArgumentError, match="put it above the method"):
        ember.batched(max_batch_size=2, wait_ms=1)(Model)


def not_batched(x: int) -> int:
    return x


def test_what_is_not_batched_has_no_other_batching() -> None:
    function = ember.App("other").function()(not_batched)
    with pytest.raises(InvalidArgumentError, match="not_batched is not batched"):
        function.with_batching(max_batch_size=2, wait_ms=1)
