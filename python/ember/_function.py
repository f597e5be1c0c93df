"""Functions: what `@app.function` makes of a function, and handles to deployed ones."""

from __future__ import annotations

from ember import _invoke
from ember._aio import Typed, blocking
from ember._function_call import Spawn
from ember._map import ForEach, Map, Starmap
from ember._scaling import Scaled
from ember._settings import Batching, Concurrency, Settings, check_name, options_spec
from ember._spawn_map import SpawnMap
from ember._variant import variant_of
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from typing import Any, ParamSpec, TypeVar

    from typing_extensions import Unpack

    from ember._settings import Options
    from ember._signature import Parameter
    from ember._variant import Variant
    from ember._web import WebOptions

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


class Function(Scaled, Typed["P", "R"]):
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
        batching: Batching | None = None,
        origin: Any = None,
        variant: Variant | None = None,
        web: WebOptions | None = None,
    ) -> None:
        self._app_name = app_name
        self._origin = origin  # a handle made of another: of its app, whatever that is named
        self.name = name
        self.variant = variant  # None: as it is deployed
        self.raw = raw  # the function as written; None for a handle by name
        self.settings = settings or Settings()
        self.web = web  # None: no web endpoint, or a handle by name
        self.concurrency = concurrency or Concurrency(1, None)
        self.batching = batching  # None: each input runs by itself
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

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Function[P, R]:
        """The same batched function, with batches of another size or wait."""
        if self.raw is not None and self.batching is None:
            raise InvalidArgumentError(
                f"{self.name} is not batched: put @ember.batched(...) above it, and have it take "
                "and return lists"
            )
        return self._with(Batching(max_batch_size, wait_ms).spec())

    def _with(self, options: dict[str, Any]) -> Function[P, R]:
        all_options = {**(self.variant.options if self.variant else {}), **options}
        return Function(
            self.app_name,
            self.name,
            self.raw,
            self.settings,
            self.concurrency,
            batching=self.batching,
            origin=self,
            variant=variant_of(self.name, {}, all_options),
            web=self.web,
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
        """Whether it is an `async def`, or serves requests, which takes an event loop."""
        if self.web is not None:
            return True
        return self.raw is not None and is_async(self.raw)

    @property
    def is_generator(self) -> bool:
        """Whether it yields items; of a handle by name nobody knows here."""
        return self.raw is not None and is_generator(self.raw)

    @property
    def parameters(self) -> list[Parameter]:
        """What a call gives; where it is batched, one element of each list."""
        from ember._signature import parameters

        assert self.raw is not None
        return parameters(self.raw, of_elements=self.batching is not None)

    def refuse_as_generator(self) -> None:
        """Raises where one result is asked of a generator, or of a web endpoint."""
        self._refuse_as_endpoint()
        if self.is_generator:
            raise InvalidArgumentError(
                f"{self.name} is a generator function: iterate over {self.name}.remote_gen(...)"
            )

    def refuse_as_plain(self) -> None:
        """Raises where items are asked of what gives one result."""
        self._refuse_as_endpoint()
        if self.raw is not None and not self.is_generator:
            raise InvalidArgumentError(
                f"{self.name} is no generator function and gives one result: "
                f"call {self.name}.remote(...)"
            )

    def _pool_name(self) -> str:
        """What its containers are called by."""
        return self.name

    def _pool(self) -> tuple[str, str, Variant | None]:
        return self.app_name, self._pool_name(), self.variant

    def _refuse_as_endpoint(self) -> None:
        if self.web is not None:
            raise InvalidArgumentError(
                f"{self.name} is a web endpoint: send requests to {self.name}.get_web_url()"
            )

    @blocking
    def get_web_url(self) -> str:
        """The URL of a deployed web endpoint: the same in each version. Asks the server."""
        from ember import _client

        answer = _client.shared().get_json(_client.app_path(self.app_name))
        for function in answer["functions"]:
            for endpoint in function["web"]:
                if endpoint["name"] == self.name:
                    return endpoint["url"]
        raise InvalidArgumentError(
            f"{self.app_name}.{self.name} is deployed as no web endpoint: one has "
            "@ember.asgi_app() or a decorator like it"
        )

    def spec(self) -> dict[str, Any]:
        """What a deploy says of this function, but for its image."""
        assert self.raw is not None
        if self.web is not None:
            return {
                "name": self.name,
                "module": self.raw.__module__,
                "qualname": self.raw.__qualname__,
                "is_async": True,
                "web": self.web.spec(),
                **self.concurrency.spec(),
                **self.settings.spec(),
            }
        return {
            "name": self.name,
            "module": self.raw.__module__,
            "qualname": self.raw.__qualname__,
            "is_async": self.is_async,
            "is_generator": self.is_generator,
            **self.concurrency.spec(),
            **(self.batching.spec() if self.batching else {}),
            "parameters": [parameter.spec() for parameter in self.parameters],
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
    raw, concurrency, batching = parted(raw)
    if getattr(raw, "_ember_method", False) and getattr(raw, "web", None) is not None:
        return _make_endpoint(app_name, raw, name, settings, concurrency)
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
    if batching is not None:
        from ember._batching import check_batched

        check_batched(raw)
    return Function(app_name, checked, raw, settings, concurrency, batching=batching)


def _make_endpoint(
    app_name: str, endpoint: Any, name: str | None, settings: Settings, above: Concurrency | None
) -> Function[..., Any]:
    """What `@app.function` returns above a web endpoint's decorator."""
    from ember._web import APP_CONCURRENCY

    raw, web = endpoint.raw, endpoint.web
    check_place(raw, "function")
    checked = check_name("function", name or raw.__name__)
    if settings.schedule is not None:
        raise InvalidArgumentError(f"{checked}: a web endpoint has no schedule")
    if web.kind != "fastapi" and raw.__code__.co_argcount:
        raise InvalidArgumentError(f"{checked}: what returns an app, or starts one, takes nothing")
    default = None if web.kind == "fastapi" else APP_CONCURRENCY
    concurrency = above or endpoint.concurrency or default
    return Function(app_name, checked, raw, settings, concurrency, web=web)


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


def is_coroutine(raw: Callable[..., Any]) -> bool:
    """Whether it is an `async def` that gives one value."""
    return bool(flags(raw) & _CO_COROUTINE)


def is_generator(raw: Callable[..., Any]) -> bool:
    """Whether it yields."""
    return bool(flags(raw) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR))


def is_async(raw: Callable[..., Any]) -> bool:
    """Whether it is an `async def`, of either kind."""
    return bool(flags(raw) & (_CO_COROUTINE | _CO_ASYNC_GENERATOR))


BATCHED_ENDPOINT = (
    "each request has an answer of its own: a web endpoint can't be batched; call a batched "
    "function from it"
)


def parted(raw: object) -> tuple[Any, Concurrency | None, Batching | None]:
    """What our decorators below another one stand on, and what they say."""
    if isinstance(raw, Marked):
        return raw.function, raw.concurrency, raw.batching
    return raw, None, None


class Marked:
    """A function with `@ember.concurrent` or `@ember.batched` below `@app.function`, between."""

    def __init__(
        self, function: object, concurrency: Concurrency | None, batching: Batching | None
    ) -> None:
        self.function = function
        self.concurrency = concurrency
        self.batching = batching


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[Any], Any]:
    """Lets one container run several inputs at once. Stands above or below `@app.function`, or
    `@app.cls` for all methods of a class together.

    Async functions share one event loop, sync ones run on threads. The autoscaler aims at
    `target_inputs` (by default `max_inputs`) and lets bursts go up to `max_inputs`.
    """
    concurrency = Concurrency(max_inputs, target_inputs)

    def decorate(function: Any) -> Any:
        if getattr(function, "_ember_method", False) and function.web is None:
            raise InvalidArgumentError(
                f"{function.raw.__qualname__}: @ember.concurrent stands above the class: its "
                "methods share containers"
            )
        if getattr(function, "_ember_callable", False):  # a function or class of an app
            function.concurrency = concurrency
            return function
        raw, _, batching = parted(function)
        if not callable(raw) and getattr(raw, "web", None) is None:
            raise InvalidArgumentError("@ember.concurrent is for functions and classes")
        return Marked(raw, concurrency, batching)

    return decorate


def flags(function: Callable[..., Any]) -> int:
    """What its code says of how it runs, and that of the function which it wraps."""
    from ember._signature import unwrapped

    return unwrapped(function).__code__.co_flags | function.__code__.co_flags  # pyright: ignore[reportFunctionMemberAccess]
