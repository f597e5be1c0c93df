"""Classes: what `@app.cls` makes of a class, handles to deployed ones, and their instances.

An instance of an Ember class is a handle: its methods run in containers, each of which makes one
object of the class as written. That object is loaded once, by the `@ember.enter` hooks, before the
first call comes.
"""

from __future__ import annotations

from ember._class_parameter import ClassParameter, check_values, declared_parameters
from ember._function import Function, check_place, is_async, is_generator, parted
from ember._lifecycle import Hook, Local, Method, hooks_of, methods_of
from ember._scaling import Scaled
from ember._settings import Batching, Concurrency, Settings, check_name, options_spec
from ember._variant import variant_of
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    from typing_extensions import Unpack

    from ember._settings import Options
    from ember._variant import Variant

    T = TypeVar("T")

    class _Makes(Generic[T]):
        """What makes instances of a class."""
else:

    class _Makes:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


_NO_METHODS = ("enter", "exit", "__enter__", "__exit__", "__aenter__", "__aexit__", "__call__")


class Cls(_Makes["T"]):
    """One class of an app. Made by `@app.cls(...)` or `Cls.from_name(...)`.

    Calling it with the class's parameters, by name, gives an instance.
    """

    _ember_callable = True

    def __init__(
        self,
        app_name: str,
        name: str,
        raw: type[T] | None = None,
        settings: Settings | None = None,
        concurrency: Concurrency | None = None,
        *,
        origin: Cls[T] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._app_name = app_name
        self._origin = origin
        self.name = name
        self.raw = raw  # the class as written; None for a handle by name
        self.settings = settings or Settings()
        self.concurrency = concurrency or Concurrency(1, None)
        self.options = options or {}  # fields of a deploy, where they differ from the deployed ones
        self.methods: dict[str, Method[..., Any]] = methods_of(raw) if raw is not None else {}
        self.parameters: dict[str, ClassParameter] = (
            declared_parameters(raw) if raw is not None else {}
        )
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__module__ = raw.__module__
            self.__qualname__ = raw.__qualname__
            self.__name__ = raw.__name__

    @staticmethod
    def from_name(app_name: str, name: str) -> Cls[Any]:
        """A handle to a deployed class. Asks no server: a wrong name shows at the first call."""
        return Cls(check_name("app", app_name), check_name("class", name))

    @property
    def app_name(self) -> str:
        """The app that it is of."""
        return self._app_name if self._origin is None else self._origin.app_name

    @app_name.setter
    def app_name(self, name: str) -> None:
        self._app_name = name

    def __call__(self, *args: object, **parameters: str | int | bool | bytes) -> T:
        """An instance with these parameters. Instances with equal ones share their containers."""
        if args:
            raise InvalidArgumentError(f"{self.name}: give its parameters by name")
        given = check_values(self.name, self.parameters if self.raw else None, parameters)
        return Instance(self, given)  # pyright: ignore[reportReturnType]

    def __mro_entries__(self, _bases: object) -> tuple[type, ...]:
        """No class derives from an Ember class."""
        raise InvalidArgumentError(
            f"{self.name} is an Ember class: put what both share into a plain class, and have both "
            "inherit from that"
        )

    def with_options(self, **options: Unpack[Options]) -> Cls[T]:
        """The same class with other settings, in containers of its own.

        `Model.with_options(gpu="H100")(size="7b").predict.remote(...)`: those that are not named
        stay as they are deployed.
        """
        return self._with(options_spec(options))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls[T]:
        """The same, whose containers run so many inputs at once."""
        return self._with(Concurrency(max_inputs, target_inputs).spec())

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Cls[T]:
        """The same, whose batched method has batches of another size or wait."""
        if self.raw is not None and self.batching is None:
            raise InvalidArgumentError(
                f"{self.name} has no batched method: put @ember.batched(...) above one, and have "
                "it take and return lists"
            )
        return self._with(Batching(max_batch_size, wait_ms).spec())

    @property
    def batching(self) -> Batching | None:
        """That of its method, if that is batched: it is the only one then."""
        return next((one.batching for one in self.methods.values() if one.batching), None)

    def _with(self, options: dict[str, Any]) -> Cls[T]:
        return Cls(
            self.app_name,
            self.name,
            self.raw,
            self.settings,
            self.concurrency,
            origin=self,
            options={**self.options, **options},
        )

    @property
    def is_async(self) -> bool:
        """Whether any of its methods or hooks is an `async def`: all run on one event loop then."""
        assert self.raw is not None
        hooks = [*hooks_of(self.raw, "enter"), *hooks_of(self.raw, "exit")]
        code = [*self.methods.values(), *hooks]
        serves = any(method.web is not None for method in self.methods.values())
        return serves or any(is_async(one.raw) for one in code)

    def spec(self) -> dict[str, Any]:
        """What a deploy says of this class, but for its image."""
        assert self.raw is not None
        return {
            "name": self.name,
            "module": self.raw.__module__,
            "qualname": self.raw.__qualname__,
            "is_async": self.is_async,
            **self.concurrency.spec(),
            **(self.batching.spec() if self.batching else {}),
            "methods": [method.spec() for method in self.methods.values()],
            "class_parameters": [
                parameter.spec() for parameter in self.parameters.values() if parameter.init
            ],
            **self.settings.spec(),
        }

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _rebuilt, (self.app_name, self.name, self.options)

    def __repr__(self) -> str:
        return f"<ember.Cls {self.app_name}.{self.name}>"


class Instance(Scaled):
    """An instance of an Ember class: `instance.method.remote(...)` runs in a container of it."""

    def __init__(self, cls: Cls[Any], given: dict[str, Any]) -> None:
        self._ember_cls = cls
        self._ember_given = given  # parameters that are not as their defaults, as JSON has them
        self._ember_local: Local | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_ember_")):  # what copying and pickling ask an empty one for
            raise AttributeError(name)
        cls = self._ember_cls
        if cls.raw is not None and name in cls.parameters:
            return cls.parameters[name].value_of(self._ember_given)
        if name.startswith("_") or (cls.raw is not None and name not in cls.methods):
            raise AttributeError(
                f"{cls.name} has no method {name!r}; it has: {', '.join(cls.methods) or '?'}"
            )
        return BoundMethod(self, name)

    def _pool(self) -> tuple[str, str, Variant | None]:
        cls = self._ember_cls
        return cls.app_name, cls.name, variant_of(cls.name, self._ember_given, cls.options)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        cls = self._ember_cls
        return _rebuilt_instance, (cls.app_name, cls.name, cls.options, self._ember_given)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._ember_given.items())
        return f"<ember.{self._ember_cls.name}({given})>"


class BoundMethod(Function):
    """A method of an instance."""

    def __init__(self, instance: Instance, name: str) -> None:
        cls = instance._ember_cls
        method = cls.methods.get(name)
        super().__init__(
            cls.app_name,
            f"{cls.name}.{name}",
            method.raw if method is not None else None,
            batching=method.batching if method is not None else None,
            web=method.web if method is not None else None,
            origin=cls,
            variant=variant_of(cls.name, instance._ember_given, cls.options),
        )
        self._instance = instance
        self._method = name

    @property
    def local(self) -> Callable[..., Any]:
        """The method as written, on an object that is made and entered here, once."""
        instance = self._instance
        cls = instance._ember_cls
        if cls.raw is None:
            return super().local  # raises
        if instance._ember_local is None:
            instance._ember_local = Local(cls, instance._ember_given)
        return instance._ember_local.method(self._method)

    def with_options(self, **_options: object) -> Any:
        """Not of one method: they share containers."""
        raise InvalidArgumentError(
            f"{self.name}: options are the class's: "
            f"{self._instance._ember_cls.name}.with_options(...)"
        )

    with_concurrency = with_batching = with_options

    def _pool_name(self) -> str:
        return self._instance._ember_cls.name

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return getattr, (self._instance, self._method)


def make_cls(app_name: str, raw: Any, name: str | None, settings: Settings) -> Cls[Any]:
    """What `@app.cls` returns; refuses what can't run in a container."""
    raw, concurrency, _ = parted(raw)
    if isinstance(raw, Cls):
        raise InvalidArgumentError(f"{raw.name} is an Ember class already")
    if not isinstance(raw, type):
        raise InvalidArgumentError("@app.cls is for classes; use @app.function(...) for functions")
    check_place(raw, "class")
    _check_places_of_concurrency(raw)
    if raw.__init__ is not object.__init__:
        raise InvalidArgumentError(
            f"{raw.__qualname__}: an Ember class has no __init__ of its own: declare what it is "
            "made with by ember.parameter(), and load it in a method with @ember.enter()"
        )
    cls = Cls(app_name, check_name("class", name or raw.__name__), raw, settings, concurrency)
    _check_methods(cls)
    for kind in ("enter", "exit"):
        hooks_of(raw, kind)  # checks them
    return cls


def _check_places_of_concurrency(raw: type) -> None:
    """An endpoint can't tell, where it is declared, that it is in a class."""
    for name, value in vars(raw).items():
        if parted(value)[1] is not None or getattr(value, "concurrency", None) is not None:
            raise InvalidArgumentError(
                f"{raw.__name__}.{name}: @ember.concurrent stands above the class: its methods "
                "share containers"
            )


def _check_methods(cls: Cls[Any]) -> None:
    if not cls.methods:
        raise InvalidArgumentError(
            f"{cls.name} has no method: put @ember.method() above those that are to be called"
        )
    if cls.batching and len(cls.methods) > 1:
        raise InvalidArgumentError(
            f"{cls.name}: a class with a batched method has no other method; its containers "
            f"gather inputs for that one: it has {', '.join(cls.methods)}"
        )
    for name, method in cls.methods.items():
        if isinstance(method.raw, (Hook, Method)):
            raise InvalidArgumentError(
                f"{cls.name}.{name} can't be both a method and a hook: give the work that both do "
                "a function of its own"
            )
        if name in _NO_METHODS:
            raise InvalidArgumentError(
                f"{cls.name}.{name}: a method can't have the name of a hook; name it otherwise, "
                f"or use @ember.{name.strip('_').removeprefix('a')}() if it is one"
                if name != "__call__"
                else f"{cls.name}.__call__: give the method a name to call it by"
            )
        if method.web is not None:
            _check_endpoint(cls, method)


def _check_endpoint(cls: Cls[Any], method: Method[..., Any]) -> None:
    name = f"{cls.name}.{method.name}"
    code = method.raw.__code__  # pyright: ignore[reportFunctionMemberAccess]
    if not code.co_argcount:
        raise InvalidArgumentError(f"{name}: a method takes self")
    if is_generator(method.raw):
        raise InvalidArgumentError(
            f"{name}: a web endpoint answers a request once: return a StreamingResponse over the "
            "items, or leave the endpoint out and read them by .remote_gen()"
        )
    needed = [one.name for one in cls.parameters.values() if one.init and not one.has_default]
    if needed:
        raise InvalidArgumentError(
            f"{name}: a request says nothing of the class's parameters: give a default to "
            + ", ".join(needed)
        )


def _rebuilt(app_name: str, name: str, options: dict[str, Any]) -> Cls[Any]:
    cls = Cls.from_name(app_name, name)
    cls.options = options
    return cls


def _rebuilt_instance(
    app_name: str, name: str, options: dict[str, Any], given: dict[str, Any]
) -> Instance:
    return Instance(_rebuilt(app_name, name, options), given)
