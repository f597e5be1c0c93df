"""Calling a deployed function: over the runner's socket in a container, else over HTTP."""

from __future__ import annotations

from ember import _context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any


def call(app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls and waits for the result, or raises what the function raised."""
    body = _pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        return _unpickled(_calls.call(_context.deployed_app(app), function, body))
    from ember import _client

    return _unpickled(_client.shared().call(app, function, body, _client.PICKLE).body)


async def call_async(app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same without blocking the running event loop."""
    body = _pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        return _unpickled(await _calls.call_async(_context.deployed_app(app), function, body))
    from ember import _client

    reply = await _client.shared().call_async(app, function, body, _client.PICKLE)
    return _unpickled(reply.body)


def call_items(
    app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, None, None]:
    """Calls a generator function, once the first item is asked for; closing it cancels the call."""
    return _call_items(app, function, _pickled(args, kwargs))


def _call_items(app: str, function: str, body: bytes) -> Generator[Any, None, None]:
    if _context.in_container:
        from ember.runner import _calls

        items = _calls.call_items(_context.deployed_app(app), function, body)
    else:
        from ember import _client

        items = _client.shared().call_items(app, function, body)
    try:
        for item in items:
            yield _unpickled(item)
    finally:
        items.close()


def call_items_async(
    app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    """The same without blocking the running event loop."""
    return _call_items_async(app, function, _pickled(args, kwargs))


async def _call_items_async(app: str, function: str, body: bytes) -> AsyncGenerator[Any, None]:
    if _context.in_container:
        from ember.runner import _calls

        items = _calls.call_items_async(_context.deployed_app(app), function, body)
    else:
        from ember import _client

        items = _client.shared().call_items_async(app, function, body)
    try:
        async for item in items:
            yield _unpickled(item)
    finally:
        await items.aclose()


def _pickled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    import pickle

    try:
        return pickle.dumps((args, kwargs), 5)
    except Exception:
        import cloudpickle  # lambdas, closures and types made at run time travel by value

    try:
        return cloudpickle.dumps((args, kwargs), 5)
    except Exception as error:
        from ember.exception import InvalidArgumentError

        raise InvalidArgumentError(f"the arguments can't be pickled: {error}") from error


def _unpickled(data: bytes) -> Any:
    import pickle

    try:
        return pickle.loads(data)
    except Exception as error:
        from ember.exception import EmberError

        raise EmberError(
            f"the result can't be rebuilt here: {type(error).__name__}: {error}; "
            "its type must be importable by the caller"
        ) from error
