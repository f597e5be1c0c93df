"""Web endpoints in their container: what a function gives, started before the first request."""

from __future__ import annotations

import inspect
import sys

from ember._signature import Plan
from ember.runner._runner import Entry, Function, Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    from ember._web import WebOptions
    from ember.runner._exchange import Exchange

    class Serving(Protocol):
        """An app of one of the kinds."""

        def start(self) -> Awaitable[None]: ...
        def stop(self) -> Awaitable[None]: ...
        def serve(self, exchange: Exchange) -> Awaitable[None]: ...


class Endpoint:
    """One endpoint: the function's code is run, as load, when its container starts."""

    def __init__(self, raw: Callable[..., Any], options: WebOptions, max_inputs: int) -> None:
        self._raw = raw
        self._options = options
        self._max_inputs = max_inputs
        self._app: Serving | None = None

    def function(self) -> Function:
        """For a container that serves nothing else."""
        return Function(
            [self.entry()],
            is_async=True,
            max_inputs=self._max_inputs,
            enter=[self.enter()],
            exit=[self.exit()],
        )

    def entry(self) -> Entry:
        plan = Plan(self._serve)
        return Entry(self._serve, plan, is_async=True, is_generator=True, is_web=True)

    def enter(self) -> Hook:
        return Hook(self._start, is_async=True)

    def exit(self) -> Hook:
        return Hook(self._stop, is_async=True)

    async def _start(self) -> None:
        app = await self._make()
        await app.start()
        self._app = app

    async def _stop(self) -> None:
        if self._app is not None:
            await self._app.stop()

    async def _make(self) -> Serving:
        kind = self._options.kind
        if kind == "fastapi":
            from ember.runner._asgi import AsgiApp

            return AsgiApp(_fastapi_app(self._raw, self._options))
        made: Any = self._raw()
        if inspect.isawaitable(made):
            made = await made
        if kind == "server":
            from ember.runner._proxy import WebServer

            return WebServer(self._options.port, self._options.startup_timeout_s)
        _check_app(made, self._raw, kind)
        if kind == "wsgi":
            from ember.runner._wsgi import WsgiApp

            return WsgiApp(made, self._max_inputs)
        from ember.runner._asgi import AsgiApp

        return AsgiApp(made)

    async def _serve(self, exchange: Exchange) -> None:
        assert self._app is not None
        try:
            await self._app.serve(exchange)
        except Exception:
            # Clients are strangers: what went wrong is for the logs alone.
            import traceback

            traceback.print_exc(file=sys.stderr)
            if not exchange.done:
                raise


def _check_app(made: object, raw: Callable[..., Any], kind: str) -> None:
    if not callable(made):
        raise TypeError(
            f"{_name_of(raw)} is to return its {kind.upper()} app, not {type(made).__name__}"
        )


def _name_of(raw: Callable[..., Any]) -> str:
    return getattr(raw, "__qualname__", "the function")


def _fastapi_app(raw: Callable[..., Any], options: WebOptions) -> Any:
    try:
        from fastapi import FastAPI  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"@ember.fastapi_endpoint needs FastAPI in the image of {_name_of(raw)}: "
            f'image=ember.Image.host().pip_install("fastapi") ({error})'
        ) from None
    app: Any = FastAPI(
        title=_name_of(raw),
        docs_url="/docs" if options.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if options.docs else None,
    )
    app.add_api_route("/", raw, methods=[options.method])
    return app
