"""Methods that block, with a twin for async code: `v.commit()`, `await v.commit.aio()`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)

    class _Typed(Generic[P, R]):
        pass
else:

    class _Typed:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


class Bound(_Typed["P", "R"]):
    """A blocking method of one object."""

    __slots__ = ("_method",)

    def __init__(self, method: Callable[P, R]) -> None:
        self._method = method

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Blocks for the result."""
        return self._method(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for async code, on a thread: the loop goes on."""
        import asyncio

        return await asyncio.to_thread(self._method, *args, **kwargs)


class blocking(_Typed["P", "R"]):
    """Gives a method its twin."""

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> Bound[P, R]:
        """The method of the object; of the class it is the plain function's."""
        return Bound(self._method.__get__(instance, owner))
