"""`fn.spawn_map(xs)`: a spawned call for each input, which run whoever waits for them.

With `resume=KEY` each input's call has an idempotency key of its own, made of KEY and its place: a
map that was broken off, made again with the same KEY and inputs, finds its calls and makes only
what is missing or has failed.
"""

from __future__ import annotations

from ember import _context
from ember._aio import blocking
from ember._function_call import FunctionCall, outcome
from ember.exception import InvalidArgumentError, NotEnded, UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from ember._function import Function

_THREADS = 16
_MAX_KEY = 200


class SpawnedMap:
    """The calls of a map, in the order of its inputs: `calls`."""

    def __init__(self, calls: Sequence[FunctionCall]) -> None:
        self.calls = list(calls)
        self._ended: dict[FunctionCall, bool] = {}  # whether it has failed

    @blocking
    def get_progress(self) -> dict[str, int]:
        """How many have been made, are done, and have failed of these: total, done, failed."""
        _each(self._look, [call for call in self.calls if call not in self._ended])
        failed = sum(self._ended.values())
        return {"total": len(self.calls), "done": len(self._ended), "failed": failed}

    def _look(self, call: FunctionCall) -> None:
        state = _state(call)
        if state is not None:
            self._ended[call] = state

    def results(self, *, return_exceptions: bool = False) -> Iterator[Any]:
        """Each result in the order of the inputs, as soon as it and those before are there.

        return_exceptions: what an input raised is given in its place.
        """
        for call in self.calls:
            try:
                value = call.get()
            except Exception as error:
                if not return_exceptions:
                    raise
                value = error
            yield value

    @blocking
    def cancel(self) -> None:
        """Withdraws those that have not ended."""
        from ember.exception import ConflictError

        def withdraw(call: FunctionCall) -> None:
            try:
                call.cancel()
            except ConflictError:
                pass  # it has ended

        _each(withdraw, [call for call in self.calls if call not in self._ended])

    def __len__(self) -> int:
        return len(self.calls)

    def __repr__(self) -> str:
        return f"<ember.SpawnedMap of {len(self.calls)} calls>"


class SpawnMap:
    """`fn.spawn_map(xs)` spawns a call with each of them, and returns a handle to all."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[..., Any]) -> None:
        self._function = function

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        resume: str | None = None,
    ) -> SpawnedMap:
        """All calls are on the server's disk when this returns. Several iterables are as in the
        builtin `map`.

        kwargs: keyword arguments that all calls get.
        resume: a name of your own for this map: made again under it, with the same inputs in the
        same order, it does not make again what runs or is done, as long as that is kept (a week).
        """
        if not iterables:
            raise TypeError("a map must have at least one iterable")
        if resume is not None and not 0 < len(resume) <= _MAX_KEY:
            raise InvalidArgumentError(f"resume: 1 to {_MAX_KEY} characters")

        def make(numbered: tuple[int, tuple[Any, ...]]) -> FunctionCall:
            number, args = numbered
            return self._make(args, kwargs or {}, resume and f"{resume}/{number}")

        return SpawnedMap(_each(make, list(enumerate(zip(*iterables)))))

    async def aio(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        resume: str | None = None,
    ) -> SpawnedMap:
        """The same for async code: await it."""
        import asyncio

        return await asyncio.to_thread(self, *iterables, kwargs=kwargs, resume=resume)

    def _make(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None) -> FunctionCall:
        spawn = self._function.spawn
        if key is None:
            return spawn(*args, **kwargs)
        # One that has failed keeps its key; the next try has another.
        again = 0
        while True:
            named = spawn.with_options(idempotency_key=f"{key}/{again}" if again else key)
            call, repeated = named.spawn(args, kwargs)
            if not repeated or not _state(call):
                return call
            again += 1


def _state(call: FunctionCall) -> bool | None:
    """Whether it has failed; None while it has not ended."""
    try:
        found = outcome(call.call_id, 0.0, to_the_end=False)
    except UnavailableError as error:
        if error.call_id is None:
            raise  # nobody has said what has become of it
        return True
    except Exception:
        return True
    return None if isinstance(found, NotEnded) else False


def _each(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """The results of the work on each, several at a time; one by one in a container."""
    if _context.in_container or len(items) < 2:
        return [work(one) for one in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_THREADS, len(items)), "ember-spawn-map") as pool:
        futures = [pool.submit(work, one) for one in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)
