"""Functions: what `@app.function` makes of a function, and handles to deployed ones."""

from __future__ import annotations

from ember import _invoke
from ember._aio import Typed
from ember._function_call import Spawn
from ember._map import ForEach, Map, Starmap
from ember._settings import Concurrency, Settings, check_name, options_spec
from ember._spawn_map import SpawnMap
from ember._variant import variant_of
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from typing import Any, ParamSpec, TypeVar

    from typing_extensions import Unpack

    from ember._settings import Options
    from ember._variant import Variant

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
        function.refuse_as_generator()
        return _invoke.call(function.app_name, function.name, args, kwargs, function.variant)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """The same for async code: await it."""
        function = self._function
        function.refuse_as_generator()
        return _invoke.call_async(function.app_name, function.name, args, kwargs, function.variant)


class RemoteItems(Typed["P", "R"]):
    """`for item in fn.remote_gen(...)`: what a generator function yields, as it comes.

    The call begins with the first item that is asked for. Ending the loop early, or closing the
    iterator, cancels it.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, R]) -> None:
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Generator[Any, None, None]:
        """Runs the generator in a container, a bounded way ahead of who iterates."""
        function = self._function
        function.refuse_as_plain()
        return _invoke.call_items(function.app_name, function.name, args, kwargs, function.variant)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, None]:
        """The same for async code: `async for`."""
        function = self._function
        function.refuse_as_plain()
        name, variant = function.name, function.variant
        return _invoke.call_items_async(function.app_name, name, args, kwargs, variant)


class Function(Typed["P", "R"]):
    """One function of an app. Made by `@app.function(...)` or `Function.from_name(...)`."""

    _ember_callable = True

    def __init__(
        self,
        app_name: str,
        name: str,
        raw: Callable[P, R] | None = None,
        settings: Settings | None = None,
        concurrency: Concurrency | None = None,
        *,
        origin: Any = None,
        variant: Variant | None = None,
    ) -> None:
        self._app_name = app_name
        self._origin = origin  # a handle made of another: of its app, whatever that is named
        self.name = name
        self.variant = variant  # None: as it is deployed
        self.raw = raw  # the function as written; None for a handle by name
        self.settings = settings or Settings()
        self.concurrency = concurrency or Concurrency(1, None)
        self.remote: Remote[P, R] = Remote(self)
        self.spawn = Spawn(self, {})
        self.remote_gen: RemoteItems[P, R] = RemoteItems(self)
        self.map = Map(self)
        self.starmap = Starmap(self)
        self.for_each = ForEach(self)
        self.spawn_map = SpawnMap(self)
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
    def app_name(self) -> str:
        """The app that it is of."""
        return self._app_name if self._origin is None else self._origin.app_name

    @app_name.setter
    def app_name(self, name: str) -> None:
        self._app_name = name

    def with_options(self, **options: Unpack[Options]) -> Function[P, R]:
        """A handle to the same function with other settings, in containers of its own.

        `f.with_options(gpu="H100", timeout=60).remote(...)`: those that are not named stay as they
        are deployed. Equal options share their containers.
        """
        return self._with(options_spec(options))

    def with_concurrency(
        self, *, max_inputs: int, target_inputs: int | None = None
    ) -> Function[P, R]:
        """The same, whose containers run so many inputs at once."""
        return self._with(Concurrency(max_inputs, target_inputs).spec())

    def _with(self, options: dict[str, Any]) -> Function[P, R]:
        all_options = {**(self.variant.options if self.variant else {}), **options}
        return Function(
            self.app_name,
            self.name,
            self.raw,
            self.settings,
            self.concurrency,
            origin=self,
            variant=variant_of(self.name, {}, all_options),
        )

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
        is_async = _CO_COROUTINE | _CO_ASYNC_GENERATOR
        return self.raw is not None and bool(flags(self.raw) & is_async)

    @property
    def is_generator(self) -> bool:
        """Whether it yields items; of a handle by name nobody knows here."""
        yields = _CO_GENERATOR | _CO_ASYNC_GENERATOR
        return self.raw is not None and bool(flags(self.raw) & yields)

    def refuse_as_generator(self) -> None:
        """Raises where one result is asked of a generator."""
        if self.is_generator:
            raise InvalidArgumentError(
                f"{self.name} is a generator function: iterate over {self.name}.remote_gen(...)"
            )

    def refuse_as_plain(self) -> None:
        """Raises where items are asked of what gives one result."""
        if self.raw is not None and not self.is_generator:
            raise InvalidArgumentError(
                f"{self.name} is no generator function and gives one result: "
                f"call {self.name}.remote(...)"
            )

    def spec(self) -> dict[str, Any]:
        """What a deploy says of this function, but for its image."""
        from ember._signature import parameters

        assert self.raw is not None
        return {
            "name": self.name,
            "module": self.raw.__module__,
            "qualname": self.raw.__qualname__,
            "is_async": self.is_async,
            "is_generator": self.is_generator,
            **self.concurrency.spec(),
            "parameters": [parameter.spec() for parameter in parameters(self.raw)],
            **self.settings.spec(),
        }

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        remote = "remote_gen" if self.is_generator else "remote"
        raise InvalidArgumentError(
            f"{self.name} is an Ember function: call {self.name}.{remote}(...) to run it in a "
            f"container, or {self.name}.local(...) to run it here"
        )

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        options = self.variant.options if self.variant else {}
        return _rebuilt, (self.app_name, self.name, options)

    def __repr__(self) -> str:
        return f"<ember.Function {self.app_name}.{self.name}>"


def make_function(
    app_name: str, raw: object, name: str | None, settings: Settings
) -> Function[..., Any]:
    """What `@app.function` returns; refuses what can't run in a container."""
    raw, concurrency = parted(raw)
    if isinstance(raw, Function):
        raise InvalidArgumentError(f"{raw.name} is an Ember function already")
    code = getattr(raw, "__code__", None)
    if isinstance(raw, type):
        raise InvalidArgumentError(f"{raw.__qualname__} is a class: use @app.cls(...) for it")
    if code is None or not callable(raw):
        raise InvalidArgumentError(
            f"@app.function is for functions, not for {type(raw).__name__} objects"
        )
    check_place(raw, "function")
    checked = check_name("function", name or raw.__name__)
    if settings.schedule is not None:
        from ember._schedule import check_callable_alone

        check_callable_alone(checked, raw)
    return Function(app_name, checked, raw, settings, concurrency)


def _rebuilt(app_name: str, name: str, options: dict[str, Any]) -> Function[..., Any]:
    function = Function.from_name(app_name, name)
    if options:
        function.variant = variant_of(name, {}, options)
    return function


def check_place(raw: object, what: str) -> None:
    """Refuses what containers could not find by its name."""
    qualname: str = raw.__qualname__  # pyright: ignore[reportAttributeAccessIssue]
    if "<" in qualname:
        raise InvalidArgumentError(
            f"{qualname}: define the {what} at the top of its module: "
            "containers find it there by its name"
        )


def refuse_generator(raw: Callable[..., Any]) -> None:
    """Refuses generators, which give many values, where a class has its methods."""
    if flags(raw) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR):
        raise InvalidArgumentError(
            f"{raw.__qualname__}: generators can't be methods of an Ember class yet; "
            "give the items by a generator function, which takes what it needs as arguments"
        )


def is_coroutine(raw: Callable[..., Any]) -> bool:
    """Whether it is an `async def`."""
    return bool(flags(raw) & _CO_COROUTINE)


def parted(raw: object) -> tuple[Any, Concurrency | None]:
    """What `@ember.concurrent` below another decorator stands on, and what it says."""
    return (raw.function, raw.concurrency) if isinstance(raw, _Concurrent) else (raw, None)


class _Concurrent:
    """A function with `@ember.concurrent` below `@app.function`, between the two."""

    def __init__(self, function: object, concurrency: Concurrency) -> None:
        self.function = function
        self.concurrency = concurrency


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[Any], Any]:
    """Lets one container run several inputs at once. Stands above or below `@app.function`, or
    `@app.cls` for all methods of a class together.

    Async functions share one event loop, sync ones run on threads. The autoscaler aims at
    `target_inputs` (by default `max_inputs`) and lets bursts go up to `max_inputs`.
    """
    concurrency = Concurrency(max_inputs, target_inputs)

    def decorate(function: Any) -> Any:
        if getattr(function, "_ember_method", False):
            raise InvalidArgumentError(
                f"{function.raw.__qualname__}: @ember.concurrent stands above the class: its "
                "methods share containers"
            )
        if getattr(function, "_ember_callable", False):  # a function or class of an app
            function.concurrency = concurrency
            return function
        if not callable(function):
            raise InvalidArgumentError("@ember.concurrent is for functions and classes")
        return _Concurrent(function, concurrency)

    return decorate


def flags(function: Callable[..., Any]) -> int:
    """What its code says of how it runs, and that of the function which it wraps."""
    from ember._signature import unwrapped

    return unwrapped(function).__code__.co_flags | function.__code__.co_flags  # pyright: ignore[reportFunctionMemberAccess]
