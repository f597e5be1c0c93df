"""Methods that block, with a twin for async code: `v.commit()`, `await v.commit.aio()`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)

    class Typed(Generic[P, R]):
        """What has the parameters and the result of a function."""
else:

    class Typed:
        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


_END = object()


class Bound(Typed["P", "R"]):
    """A blocking method of one object."""

    def __init__(
        self, method: Callable[P, R], twin: Callable[P, Awaitable[R]] | None = None
    ) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__
        self._twin = twin

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Blocks for the result."""
        return self.__wrapped__(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for async code: the loop goes on."""
        if self._twin is not None:
            return await self._twin(*args, **kwargs)
        import asyncio

        return await asyncio.to_thread(self.__wrapped__, *args, **kwargs)


class blocking(Typed["P", "R"]):
    """Gives a method its twin: the method itself on a thread, unless it has one of its own."""

    def __init__(
        self,
        method: Callable[Concatenate[Any, P], R],
        twin: Callable[Concatenate[Any, P], Awaitable[R]] | None = None,
    ) -> None:
        self._method = method
        self._twin = twin
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> Bound[P, R]:
        """The method of the object; of the class it is the plain function's."""
        twin = self._twin
        bound = None if twin is None else twin.__get__(instance, owner)
        return Bound(self._method.__get__(instance, owner), bound)


class BoundItems(Typed["P", "R"]):
    """A generator method of one object."""

    def __init__(self, method: Callable[P, Iterator[R]]) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        """Blocks for each item."""
        return self.__wrapped__(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        """The same for `async for`, on a thread: the loop goes on."""
        import asyncio

        items = self.__wrapped__(*args, **kwargs)
        while (item := await asyncio.to_thread(next, items, _END)) is not _END:
            yield item  # pyright: ignore[reportReturnType]


class iterating(Typed["P", "R"]):
    """Gives a generator method its twin."""

    def __init__(self, method: Callable[Concatenate[Any, P], Iterator[R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> BoundItems[P, R]:
        """The method of the object; of the class it is the plain function's."""
        return BoundItems(self._method.__get__(instance, owner))
