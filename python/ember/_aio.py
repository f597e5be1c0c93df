"""Methods that block, with a twin for async code: `v.commit()`, `await v.commit.aio()`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)

    class Typed(Generic[P, R]):
        """What has the parameters and the result of a function."""
else:

    class Typed:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


class Bound(Typed["P", "R"]):
    """A blocking method of one object."""

    def __init__(self, method: Callable[P, R]) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Blocks for the result."""
        return self.__wrapped__(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for async code, on a thread: the loop goes on."""
        import asyncio

        return await asyncio.to_thread(self.__wrapped__, *args, **kwargs)


class blocking(Typed["P", "R"]):
    """Gives a method its twin."""

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> Bound[P, R]:
        """The method of the object; of the class it is the plain function's."""
        return Bound(self._method.__get__(instance, owner))
