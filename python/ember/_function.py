"""Functions: what `@app.function` makes of a function, and handles to deployed ones."""

from __future__ import annotations

from ember import _invoke
from ember._aio import Typed
from ember._function_call import Spawn
from ember._map import ForEach, Map, Starmap
from ember._settings import Concurrency, Settings, check_name
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)

_CO_COROUTINE, _CO_GENERATOR, _CO_ASYNC_GENERATOR = 0x80, 0x20, 0x200


class Remote(Typed["P", "R"]):
    """`fn.remote(...)` blocks for the result; `await fn.remote.aio(...)` doesn't block the loop."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, R]) -> None:
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function in a container and returns its result, or raises its exception."""
        function = self._function
        return _invoke.call(function.app_name, function.name, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """The same for async code: await it."""
        function = self._function
        return _invoke.call_async(function.app_name, function.name, args, kwargs)


class Function(Typed["P", "R"]):
    """One function of an app. Made by `@app.function(...)` or `Function.from_name(...)`."""

    def __init__(
        self,
        app_name: str,
        name: str,
        raw: Callable[P, R] | None = None,
        settings: Settings | None = None,
        concurrency: Concurrency | None = None,
    ) -> None:
        self.app_name = app_name
        self.name = name
        self.raw = raw  # the function as written; None for a handle by name
        self.settings = settings or Settings()
        self.concurrency = concurrency or Concurrency(1, None)
        self.remote: Remote[P, R] = Remote(self)
        self.spawn = Spawn(self, {})
        self.map = Map(self)
        self.starmap = Starmap(self)
        self.for_each = ForEach(self)
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__module__ = raw.__module__
            self.__qualname__ = raw.__qualname__
            self.__name__ = raw.__name__

    @staticmethod
    def from_name(app_name: str, name: str) -> Function[..., Any]:
        """A handle to a deployed function. Asks no server: a wrong name shows at the first call."""
        return Function(check_name("app", app_name), check_name("function", name))

    @property
    def local(self) -> Callable[P, R]:
        """The function as written: `fn.local(...)` is a plain call in this process."""
        if self.raw is None:
            raise InvalidArgumentError(
                f"{self.app_name}.{self.name} was looked up by name: its code isn't here; "
                "call it with .remote()"
            )
        return self.raw

    @property
    def is_async(self) -> bool:
        """Whether it is an `async def`."""
        return self.raw is not None and bool(_flags(self.raw) & _CO_COROUTINE)

    def spec(self) -> dict[str, Any]:
        """What a deploy says of this function, but for its image."""
        from ember._signature import parameters

        assert self.raw is not None
        return {
            "name": self.name,
            "module": self.raw.__module__,
            "qualname": self.raw.__qualname__,
            "is_async": self.is_async,
            "max_inputs": self.concurrency.max_inputs,
            "target_inputs": self.concurrency.target_inputs,
            "parameters": [parameter.spec() for parameter in parameters(self.raw)],
            **self.settings.spec(),
        }

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        raise InvalidArgumentError(
            f"{self.name} is an Ember function: call {self.name}.remote(...) to run it in a "
            f"container, or {self.name}.local(...) to run it here"
        )

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return Function.from_name, (self.app_name, self.name)

    def __repr__(self) -> str:
        return f"<ember.Function {self.app_name}.{self.name}>"


def make_function(
    app_name: str, raw: object, name: str | None, settings: Settings
) -> Function[..., Any]:
    """What `@app.function` returns; refuses what can't run in a container."""
    concurrency = None
    if isinstance(raw, _Concurrent):
        raw, concurrency = raw.function, raw.concurrency
    if isinstance(raw, Function):
        raise InvalidArgumentError(f"{raw.name} is an Ember function already")
    code = getattr(raw, "__code__", None)
    if code is None or not callable(raw):
        raise InvalidArgumentError(
            f"@app.function is for functions, not for {type(raw).__name__} objects"
        )
    qualname: str = raw.__qualname__  # pyright: ignore[reportFunctionMemberAccess]
    if "<" in qualname:
        raise InvalidArgumentError(
            f"{qualname}: define the function at the top of its module: "
            "containers find it there by its name"
        )
    if _flags(raw) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR):
        raise InvalidArgumentError(f"{qualname}: generators can't be Ember functions yet")
    checked = check_name("function", name or raw.__name__)
    return Function(app_name, checked, raw, settings, concurrency)


class _Concurrent:
    """A function with `@ember.concurrent` below `@app.function`, between the two."""

    def __init__(self, function: object, concurrency: Concurrency) -> None:
        self.function = function
        self.concurrency = concurrency


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[Any], Any]:
    """Lets one container run several inputs at once. Stands above or below `@app.function`.

    Async functions share one event loop, sync ones run on threads. The autoscaler aims at
    `target_inputs` (by default `max_inputs`) and lets bursts go up to `max_inputs`.
    """
    concurrency = Concurrency(max_inputs, target_inputs)

    def decorate(function: Any) -> Any:
        if isinstance(function, Function):
            function.concurrency = concurrency
            return function
        if not callable(function):
            raise InvalidArgumentError("@ember.concurrent is for functions")
        return _Concurrent(function, concurrency)

    return decorate


def _flags(function: Callable[..., Any]) -> int:
    from ember._signature import unwrapped

    return unwrapped(function).__code__.co_flags | function.__code__.co_flags  # pyright: ignore[reportFunctionMemberAccess]
