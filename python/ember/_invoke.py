"""Calling a deployed function: over the runner's socket in a container, else over HTTP."""

from __future__ import annotations

from ember import _context, _variant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any

    from ember._variant import Variant
    from ember._watching import Watcher


def call(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variant: Variant | None = None,
) -> Any:
    """Calls and waits for the result, or raises what the function raised."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        name = _context.deployed_app(app)
        return unpickled(
            _variant.call(name, variant, lambda id: _calls.call(name, function, body, id))
        )
    from ember import _client

    def send(id: str | None) -> bytes:
        watcher = _watcher(app, function)
        return _client.shared().call(app, function, body, _client.PICKLE, id, watcher).body

    return unpickled(_variant.call(app, variant, send))


def spawn(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, object],
    variant: Variant | None = None,
) -> dict[str, Any]:
    """Starts a call that nobody waits for; the server's answer, once it is on its disk."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        name = _context.deployed_app(app)
        return _variant.call(
            name,
            variant,
            lambda id: _calls.spawn(name, function, body, {**options, "variant": id or ""}),
        )
    from ember import _client

    def send(id: str | None) -> dict[str, Any]:
        told = {**options, "variant": id}
        return _client.shared().spawn(app, function, body, _client.PICKLE, told)

    return _variant.call(app, variant, send)


async def call_async(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variant: Variant | None = None,
) -> Any:
    """The same without blocking the running event loop."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        name = _context.deployed_app(app)
        return unpickled(
            await _variant.call_async(
                name, variant, lambda id: _calls.call_async(name, function, body, id)
            )
        )
    from ember import _client

    async def send(id: str | None) -> bytes:
        client, watcher = _client.shared(), _watcher(app, function)
        reply = await client.call_async(app, function, body, _client.PICKLE, id, watcher)
        return reply.body

    return unpickled(await _variant.call_async(app, variant, send))


def call_items(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variant: Variant | None = None,
) -> Generator[Any, None, None]:
    """Calls a generator function, once the first item is asked for; closing it cancels the call."""
    return _call_items(app, function, pickled(args, kwargs), variant)


def _call_items(
    app: str, function: str, body: bytes, variant: Variant | None
) -> Generator[Any, None, None]:
    if _context.in_container:
        from ember.runner import _calls

        app, call = _context.deployed_app(app), _calls.call_items
    else:
        call = _items_by_http

    def begin(id: str | None) -> tuple[bytes | None, Generator[bytes, None, None]]:
        items = call(app, function, body, id)
        return next(items, None), items

    item, items = _variant.call(app, variant, begin)
    try:
        while item is not None:
            yield unpickled(item)
            item = next(items, None)
    finally:
        items.close()


def call_items_async(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variant: Variant | None = None,
) -> AsyncGenerator[Any, None]:
    """The same without blocking the running event loop."""
    return _call_items_async(app, function, pickled(args, kwargs), variant)


async def _call_items_async(
    app: str, function: str, body: bytes, variant: Variant | None
) -> AsyncGenerator[Any, None]:
    if _context.in_container:
        from ember.runner import _calls

        app, call = _context.deployed_app(app), _calls.call_items_async
    else:
        call = _items_by_http_async

    async def begin(id: str | None) -> tuple[bytes | None, AsyncGenerator[bytes, None]]:
        items = call(app, function, body, id)
        return await _next(items), items

    item, items = await _variant.call_async(app, variant, begin)
    try:
        while item is not None:
            yield unpickled(item)
            item = await _next(items)
    finally:
        await items.aclose()


def _items_by_http(
    app: str, function: str, body: bytes, id: str | None
) -> Generator[bytes, None, None]:
    from ember import _client

    return _client.shared().call_items(app, function, body, id, _watcher(app, function))


def _items_by_http_async(
    app: str, function: str, body: bytes, id: str | None
) -> AsyncGenerator[bytes, None]:
    from ember import _client

    return _client.shared().call_items_async(app, function, body, id, _watcher(app, function))


def _watcher(app: str, function: str) -> Watcher | None:
    watch = _context.watch_calls
    return None if watch is None else watch(f"{app}.{function}")


async def _next(items: AsyncGenerator[bytes, None]) -> bytes | None:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        return None


def pickled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Arguments as they travel."""
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


def unpickled(data: bytes) -> Any:
    """A result that came as a pickle."""
    import pickle

    try:
        return pickle.loads(data)
    except Exception as error:
        from ember.exception import EmberError

        raise EmberError(
            f"the result can't be rebuilt here: {type(error).__name__}: {error}; "
            "its type must be importable by the caller"
        ) from error
