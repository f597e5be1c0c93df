"""What makes a class's methods: `@ember.method`, and its hooks `@ember.enter` and `@ember.exit`."""

from __future__ import annotations

from _thread import RLock

from ember._aio import Typed
from ember._function import is_async, is_coroutine, is_generator, parted
from ember._signature import parameters
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from ember._cls import Cls
    from ember._function import Function
    from ember._settings import Batching
    from ember._signature import Parameter
    from ember._web import WebOptions

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)


class Method(Typed["P", "R"]):
    """A method that can be called in containers. On an object of the class it is a plain method."""

    _ember_method = True
    web: WebOptions | None = None  # where it is a web endpoint

    def __init__(
        self, raw: Callable[Concatenate[Any, P], R], batching: Batching | None = None
    ) -> None:
        self.raw = raw
        self.batching = batching  # None: each input runs by itself
        self.name = getattr(raw, "__name__", "")
        self.__doc__ = getattr(raw, "__doc__", None)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Function[P, R]:
        """Of an object: the method, with .local and .remote, which calls it in a container."""
        if instance is None:
            return self  # pyright: ignore[reportReturnType]
        return _OwnMethod(self, instance)  # pyright: ignore[reportReturnType]

    def spec(self) -> dict[str, Any]:
        """What a deploy says of it."""
        yields = {"is_generator": True} if is_generator(self.raw) else {}
        return {
            "name": self.name,
            "is_async": is_async(self.raw),
            **yields,
            "parameters": [parameter.spec() for parameter in self.parameters],
        }

    @property
    def parameters(self) -> list[Parameter]:
        """What a call gives; where it is batched, one element of each list."""
        return parameters(self.raw, of_elements=self.batching is not None)[1:]


class _OwnMethod:
    """A method of an object of the class, as its own code sees it."""

    def __init__(self, method: Method[..., Any], instance: Any) -> None:
        self.local = method.raw.__get__(instance)  # pyright: ignore[reportFunctionMemberAccess]
        self._name = method.name
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.local(*args, **kwargs)

    @property
    def remote(self) -> Any:
        return self._of_handle().remote

    @property
    def remote_gen(self) -> Any:
        return self._of_handle().remote_gen

    def _of_handle(self) -> Any:
        handle = vars(self._instance).get("_ember_handle")
        if handle is None:
            raise InvalidArgumentError(
                f"{self._name}: this object is of the class as written: make one by the Ember "
                "class to call it in a container"
            )
        return getattr(handle, self._name)


class Hook:
    """A method that runs when a container begins or ends."""

    def __init__(self, kind: str, raw: Callable[[Any], Any], *, snap: bool = False) -> None:
        self.kind = kind
        self.raw = raw
        self.snap = snap

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """On an object it is a plain method."""
        return self if instance is None else self.raw.__get__(instance)  # pyright: ignore[reportFunctionMemberAccess]


def method() -> Callable[[Callable[Concatenate[Any, P], R]], Method[P, R]]:
    """Makes a method of an `@app.cls` class callable in containers: `.remote`, `.local`."""

    def decorate(raw: Callable[Concatenate[Any, P], R]) -> Method[P, R]:
        plain, concurrency, batching = parted(raw)
        if concurrency is not None:
            raise InvalidArgumentError(
                "@ember.concurrent stands above the class: its methods share containers"
            )
        if isinstance(plain, (Hook, Method)):
            raise InvalidArgumentError(
                f"{plain.raw.__qualname__} can't be both a method and a hook: give the work that "
                "both do a method of its own"
            )
        _check_is_method(plain, "@ember.method()")
        if batching is not None:
            from ember._batching import check_batched

            check_batched(plain, is_method=True)
        return Method(plain, batching)

    return decorate


def enter(*, snap: bool = False) -> Callable[[Callable[[Any], Any]], Any]:
    """Runs a method once in each container, before its first call: to load what calls share.

    There may be several, also `async def`; those with snap=True run first.
    """
    return _hook("enter", snap=snap)


def exit() -> Callable[[Callable[[Any], Any]], Any]:
    """Runs a method when a container stops: not when it crashes. It has some seconds."""
    return _hook("exit", snap=False)


def _hook(kind: str, *, snap: bool) -> Callable[[Callable[[Any], Any]], Any]:
    def decorate(raw: Callable[[Any], Any]) -> Any:
        if isinstance(raw, (Hook, Method)):
            raise InvalidArgumentError(
                f"{raw.raw.__qualname__} can't be two things: give the work that they share a "
                "method of its own"
            )
        _check_is_method(raw, f"@ember.{kind}()")
        if any(one.required for one in parameters(raw)[1:]):
            raise InvalidArgumentError(f"{raw.__qualname__}: a hook takes nothing but self")
        return Hook(kind, raw, snap=snap)

    return decorate


def _check_is_method(raw: Any, what: str) -> None:
    if getattr(raw, "__code__", None) is None:
        raise InvalidArgumentError(f"{what} is for methods, not for {type(raw).__name__} objects")
    if not raw.__code__.co_argcount:
        raise InvalidArgumentError(f"{raw.__qualname__}: {what} is for methods, which take self")


def _members(raw: type, kind: type) -> dict[str, Any]:
    """The attributes of that kind of a class and its bases, as they are declared."""
    found: dict[str, Any] = {}
    for owner in reversed(raw.__mro__):
        for name, value in vars(owner).items():
            found.pop(name, None)
            if isinstance(value, kind):
                found[name] = value
    return found


def methods_of(raw: type) -> dict[str, Method[..., Any]]:
    """The methods of a class that can be called in containers."""
    return _members(raw, Method)


def hooks_of(raw: type, kind: str) -> list[Hook]:
    """The hooks of a class in the order in which they run."""
    hooks = [hook for hook in _members(raw, Hook).values() if hook.kind == kind]
    return sorted(hooks, key=lambda hook: not hook.snap)


def make_object(cls: Cls[Any], given: dict[str, Any]) -> Any:
    """An object of the class as written, with its parameters; not entered yet."""
    from ember._cls import Instance

    assert cls.raw is not None
    made = cls.raw()
    for name, parameter in cls.parameters.items():
        if name in given or parameter.has_default:
            setattr(made, name, parameter.value_of(given))
    vars(made)["_ember_handle"] = Instance(cls, given)
    return made


class Local:
    """The object behind `.local` calls: made and entered at the first."""

    def __init__(self, cls: Cls[Any], given: dict[str, Any]) -> None:
        self._object = make_object(cls, given)
        assert cls.raw is not None
        self._methods = cls.methods
        self._hooks = hooks_of(cls.raw, "enter")
        self._lock = RLock()  # hooks may call methods of their own object
        self._coming: asyncio.Future[None] | None = None  # hooks that an event loop runs
        self._entered = False

    def method(self, name: str) -> Callable[..., Any]:
        """The method, which enters the object first where that is still to be done."""
        method = self._methods[name]
        bound = method.raw.__get__(self._object)  # pyright: ignore[reportFunctionMemberAccess]
        if self._entered:
            return bound
        if is_async(method.raw):
            items = is_generator(method.raw)
            return self._entering_items(bound) if items else self._entering(bound)
        with self._lock:
            if not self._entered:
                self._enter()
        return bound

    def _enter(self) -> None:
        if any(is_coroutine(hook.raw) for hook in self._hooks):
            import asyncio

            if asyncio._get_running_loop() is not None:
                raise InvalidArgumentError(
                    "an async @ember.enter() can't run here, inside of a running event loop: "
                    "await an async method's .local() first, or make the hook a plain one"
                )
            asyncio.run(self._enter_async())
            return
        for hook in self._hooks:
            hook.raw(self._object)
        self._entered = True

    async def _enter_async(self) -> None:
        for hook in self._hooks:
            done = hook.raw(self._object)
            if is_coroutine(hook.raw):
                await done
        self._entered = True

    def _entering(self, bound: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._enter_once()
            return await bound(*args, **kwargs)

        return call

    def _entering_items(self, bound: Callable[..., Any]) -> Callable[..., AsyncGenerator[Any, Any]]:
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            await self._enter_once()
            items = bound(*args, **kwargs)
            try:
                async for item in items:
                    yield item
            finally:
                await items.aclose()

        return call

    async def _enter_once(self) -> None:
        import asyncio

        if self._coming is None or (self._coming.done() and not self._entered):
            self._coming = asyncio.ensure_future(self._enter_async())
        await asyncio.shield(self._coming)
