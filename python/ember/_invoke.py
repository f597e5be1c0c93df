"""Calling a deployed function: over the runner's socket in a container, else over HTTP."""

from __future__ import annotations

from ember import _context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def call(app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls and waits for the result, or raises what the function raised."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        return unpickled(_calls.call(_context.deployed_app(app), function, body))
    from ember import _client

    return unpickled(_client.shared().call(app, function, body, _client.PICKLE).body)


def spawn(
    app: str,
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, object],
) -> str:
    """Starts a call that nobody waits for; its id, once it is on the server's disk."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        return _calls.spawn(_context.deployed_app(app), function, body, options)
    from ember import _client

    return _client.shared().spawn(app, function, body, _client.PICKLE, options)["call_id"]


async def call_async(app: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same without blocking the running event loop."""
    body = pickled(args, kwargs)
    if _context.in_container:
        from ember.runner import _calls

        return unpickled(await _calls.call_async(_context.deployed_app(app), function, body))
    from ember import _client

    reply = await _client.shared().call_async(app, function, body, _client.PICKLE)
    return unpickled(reply.body)


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
