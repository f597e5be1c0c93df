"""Pools of their own: a class with its parameters, or a function with other options.

The server knows each by an id, which it gives when it is first told of it. Ids are kept here; one
that the server has lost, as by a new version of the app, is asked for once more.
"""

from __future__ import annotations

from ember import _context, _json
from ember.exception import UnknownVariantError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    R = TypeVar("R")

_MOST_IDS = 10_000

_ids: dict[tuple[str, str], str | None] = {}  # by app and variant; None: as it is deployed


class Variant:
    """How a pool differs from that of the function as it is deployed."""

    __slots__ = ("function", "options", "parameters", "text")

    def __init__(self, function: str, parameters: dict[str, Any], options: dict[str, Any]) -> None:
        self.function = function
        self.parameters = parameters  # of the class, as JSON has them
        self.options = options  # fields of a deploy
        self.text = _json.dumps([function, sorted(parameters.items()), sorted(options.items())])


def variant_of(
    function: str, parameters: dict[str, Any], options: dict[str, Any]
) -> Variant | None:
    """A variant, or None for what is no different."""
    return Variant(function, parameters, options) if parameters or options else None


def call(app: str, variant: Variant | None, send: Callable[[str | None], R]) -> R:
    """Sends a call with the id of its variant."""
    if variant is None:
        return send(None)
    key = (app, variant.text)
    try:
        return send(_ids[key] if key in _ids else _register(key, variant))
    except UnknownVariantError:
        return send(_register(key, variant))


async def call_async(
    app: str, variant: Variant | None, send: Callable[[str | None], Coroutine[Any, Any, R]]
) -> R:
    """The same without blocking the running event loop."""
    if variant is None:
        return await send(None)
    import asyncio

    key = (app, variant.text)
    try:
        known = _ids[key] if key in _ids else await asyncio.to_thread(_register, key, variant)
        return await send(known)
    except UnknownVariantError:
        return await send(await asyncio.to_thread(_register, key, variant))


def id_of(app: str, variant: Variant | None) -> str | None:
    """The id that the app's current version knows it by."""
    return _register((app, variant.text), variant) if variant is not None else None


def _register(key: tuple[str, str], variant: Variant) -> str | None:
    """Tells the server of it, and keeps its id."""
    app = key[0]
    if _context.in_container:
        from ember.runner import _calls

        found = _calls.variant(app, variant.function, variant.parameters, variant.options)
    else:
        from ember import _client

        body = {"parameters": variant.parameters, "options": variant.options}
        path = _client.variants_path(app, variant.function)
        found = _client.shared().post_json(path, body)["variant"]
    if len(_ids) >= _MOST_IDS:
        _ids.clear()
    _ids[key] = found
    return found
