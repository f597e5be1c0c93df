"""Many calls of one function: `fn.map`, `fn.starmap` and `fn.for_each`.

Inputs are drawn on a thread of their own, as far as there is room for them, and results are given
as they come; nothing is ever as long as the map. Outside of containers all of it goes over one
connection (`_map_socket`), inside over the runner's socket (`runner._map`).
"""

from __future__ import annotations

from ember import _context, _invoke
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
    from typing import Any

    from ember._function import Function
    from ember._map_flow import Flow, Outcome
    from ember._map_progress import ProgressLine


class _Mapper:
    __slots__ = ("_function",)

    def __init__(self, function: Function[..., Any]) -> None:
        self._function = function


class Map(_Mapper):
    """`fn.map(xs)` calls the function with each of them, in many containers at once."""

    def __call__(
        self,
        *iterables: Iterable[Any],
        order_outputs: bool = True,
        return_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """The results, in the order of the inputs, as they come; nothing runs before the first
        is asked for. Several iterables are as in the builtin `map`.

        order_outputs: False gives each result as soon as it is there.
        return_exceptions: what an input raised is given in its place, and the others go on.
        kwargs: keyword arguments that all calls get.
        progress: a line on stderr, by default where `ember run` runs this at a terminal.
        """
        mapping = _Mapping(self._function, _zipped(iterables), kwargs, progress)
        return mapping.results(order_outputs, return_exceptions)

    def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        order_outputs: bool = True,
        return_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> AsyncIterator[Any]:
        """The same for `async for`; the inputs may come from async iterables too."""
        mapping = _Mapping(self._function, _zipped(iterables), kwargs, progress)
        return mapping.results_async(order_outputs, return_exceptions)


class Starmap(_Mapper):
    """`fn.starmap(pairs)` calls the function with the elements of each as its arguments."""

    def __call__(
        self,
        iterable: Iterable[Iterable[Any]],
        *,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """As `map` does, with several arguments an input."""
        mapping = _Mapping(self._function, _starred(iterable), kwargs, progress)
        return mapping.results(order_outputs, return_exceptions)

    def aio(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> AsyncIterator[Any]:
        """The same for `async for`."""
        mapping = _Mapping(self._function, _starred(iterable), kwargs, progress)
        return mapping.results_async(order_outputs, return_exceptions)


class ForEach(_Mapper):
    """`fn.for_each(xs)` runs the function on each of them, and gives no results."""

    def __call__(
        self,
        *iterables: Iterable[Any],
        ignore_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> None:
        """Blocks until all are done, or raises what the first that failed raised.

        ignore_exceptions: what inputs raise ends nothing.
        """
        mapping = _Mapping(self._function, _zipped(iterables), kwargs, progress)
        for _ in mapping.results(False, ignore_exceptions):
            pass

    async def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        ignore_exceptions: bool = False,
        kwargs: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> None:
        """The same for async code: await it."""
        mapping = _Mapping(self._function, _zipped(iterables), kwargs, progress)
        async for _ in mapping.results_async(False, ignore_exceptions):
            pass


class _Mapping:
    """One map, from its inputs to its results."""

    def __init__(
        self,
        function: Function[..., Any],
        inputs: _Inputs,
        kwargs: dict[str, Any] | None,
        progress: bool | None,
    ) -> None:
        if function.is_generator:
            raise InvalidArgumentError(
                f"{function.name} is a generator function: "
                "iterate over .remote_gen() for each input"
            )
        self._function = function
        self._inputs = inputs
        self._kwargs = dict(kwargs or {})
        self._progress = progress

    def results(self, ordered: bool, return_exceptions: bool) -> Iterator[Any]:
        order = _order(ordered)
        flow, line = self._begin(None)
        try:
            while batch := flow.wait():
                for outcome in order.put(batch):
                    flow.took(outcome)
                    yield _value(outcome, return_exceptions)
        finally:
            self._end(flow, line)

    async def results_async(self, ordered: bool, return_exceptions: bool) -> AsyncIterator[Any]:
        import asyncio

        order = _order(ordered)
        loop = asyncio.get_running_loop()
        flow, line = self._begin(loop)
        try:
            while batch := await flow.wait_async():
                for outcome in order.put(batch):
                    flow.took(outcome)
                    yield _value(outcome, return_exceptions)
        finally:
            # What goes on for longer than a moment here is the threads' own end.
            self._end(flow, line)

    def _begin(self, loop: Any) -> tuple[Flow, ProgressLine | None]:
        from ember._map_flow import Flow

        function, inputs = self._function, self._inputs
        flow = Flow(inputs.iterator(loop), self._kwargs, loop)
        if _context.in_container:
            from ember.runner._map import FrameLink

            app = _context.deployed_app(function.app_name)
            flow.start(FrameLink(flow, app, function.name, function.variant))
            return flow, None
        from ember._map_socket import SocketLink

        flow.start(SocketLink(flow, function.app_name, function.name, function.variant))
        if self._progress or (self._progress is None and _context.progress_by_default):
            from ember import _map_progress

            name = f"{function.app_name}.{function.name}"
            return flow, _map_progress.begin(flow, name, inputs.length)
        return flow, None

    def _end(self, flow: Flow, line: ProgressLine | None) -> None:
        flow.close()
        self._inputs.close()
        if line is not None:
            line.end()


class _Inputs:
    """The tuples of arguments, of which nothing has been drawn yet."""

    def __init__(self, iterables: tuple[Any, ...], starred: bool) -> None:
        self._starred = starred
        self._bridge: Any = None
        self.length = _length(iterables)
        self._is_async = any(hasattr(one, "__aiter__") for one in iterables)
        # A wrong type is told where the map is made, as by the builtin.
        self._iterators = [
            one.__aiter__() if hasattr(one, "__aiter__") else iter(one) for one in iterables
        ]

    def iterator(self, loop: Any) -> Iterator[tuple[Any, ...]]:
        iterators, self._iterators = self._iterators, []
        if self._is_async:
            from ember._map_async import FromLoop

            self._bridge = FromLoop(iterators, loop)
            return (tuple(one[0]) for one in self._bridge) if self._starred else self._bridge
        return map(tuple, iterators[0]) if self._starred else zip(*iterators)

    def close(self) -> None:
        if self._bridge is not None:
            self._bridge.close()


def _zipped(iterables: tuple[Any, ...]) -> _Inputs:
    if not iterables:
        raise TypeError("a map must have at least one iterable")
    return _Inputs(iterables, starred=False)


def _starred(iterable: Any) -> _Inputs:
    return _Inputs((iterable,), starred=True)


def _length(iterables: tuple[Any, ...]) -> int | None:
    try:
        return min(len(one) for one in iterables)
    except TypeError:
        return None


class _AsTheyCome:
    """Results in no order."""

    def put(self, batch: list[Outcome]) -> Iterable[Outcome]:
        return batch


class _InOrder:
    """Results in the order of their inputs; who is ahead of another waits for it."""

    def __init__(self) -> None:
        self._early: dict[int, Outcome] = {}
        self._next = 0

    def put(self, batch: list[Outcome]) -> Iterator[Outcome]:
        early = self._early
        for outcome in batch:
            early[outcome.number] = outcome
        while (found := early.pop(self._next, None)) is not None:
            self._next += 1
            yield found


def _order(ordered: bool) -> _InOrder | _AsTheyCome:
    return _InOrder() if ordered else _AsTheyCome()


def _value(outcome: Outcome, return_exceptions: bool) -> Any:
    """The result, or what the input raised."""
    error: BaseException
    if outcome.error is None:
        try:
            return _invoke.unpickled(outcome.body)
        except Exception as broken:
            if not return_exceptions:
                raise
            return broken
    error = outcome.error()
    if return_exceptions:
        return error
    raise error
