"""Batched functions: `@ember.batched`, and what it asks of a function."""

from __future__ import annotations

from ember._function import BATCHED_ENDPOINT, Marked, is_generator
from ember._settings import Batching
from ember._signature import parameters
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def batched(*, max_batch_size: int, wait_ms: int) -> Callable[[Any], Any]:
    """Runs inputs of many callers together, as one call of the function with lists.

    Each caller gives and gets one; the function takes a list for each of its parameters, and
    returns a list with one result for each input. A batch goes when it has `max_batch_size`
    inputs, `wait_ms` after its first, or before where a container has nothing to do and waiting
    longer is not worth it. Stands above or below `@app.function` or `@ember.method`.
    """
    batching = Batching(max_batch_size, wait_ms)

    def decorate(function: Any) -> Any:
        if isinstance(function, Marked):
            _check_is_function(function.function)
            return Marked(function.function, function.concurrency, batching)
        if getattr(function, "web", None) is not None:
            raise InvalidArgumentError(BATCHED_ENDPOINT)
        is_method = getattr(function, "_ember_method", False)
        if is_method or getattr(function, "_ember_callable", False):
            _check_is_function(function.raw)
            check_batched(function.raw, is_method=is_method)
            function.batching = batching
            return function
        _check_is_function(function)
        return Marked(function, None, batching)

    return decorate


def check_batched(raw: Callable[..., Any], *, is_method: bool = False) -> None:
    """Refuses what can't take a list for each parameter, and give one back."""
    if is_generator(raw):
        raise InvalidArgumentError(
            f"{raw.__qualname__}: a generator can't be batched: return a list with one result for "
            "each input"
        )
    declared = parameters(raw)[is_method:]
    if not declared:
        raise InvalidArgumentError(
            f"{raw.__qualname__}: a batched function takes a list for each of its parameters, and "
            "has at least one"
        )
    for parameter in declared:
        if parameter.kind in ("args", "kwargs"):
            raise InvalidArgumentError(
                f"{raw.__qualname__}: a batched function can't take *{parameter.name}: name its "
                "parameters, each of which is a list"
            )


def _check_is_function(raw: object) -> None:
    if isinstance(raw, type) or getattr(raw, "__code__", None) is None:
        raise InvalidArgumentError(
            "@ember.batched is for functions and for methods of classes: put it above the method"
        )
