"""Web endpoints: functions and methods that serve HTTP at a URL of their own."""

from __future__ import annotations

from ember._function import BATCHED_ENDPOINT, parted
from ember._lifecycle import Hook, Method
from ember._settings import Concurrency
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Decorator = Callable[[Any], Any]

# How many requests a container takes at once where nothing else is said: an app serves a page with
# all that is on it. A single function, by @ember.fastapi_endpoint, takes one.
APP_CONCURRENCY = Concurrency(100, None)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_MAX_LABEL = 63
_STARTUP_TIMEOUT_S = 30.0


class WebOptions:
    """What a decorator says of an endpoint."""

    def __init__(
        self,
        kind: str,
        label: str | None,
        unauthenticated: bool,
        *,
        method: str = "GET",
        docs: bool = False,
        port: int = 0,
        startup_timeout_s: float = 0.0,
    ) -> None:
        _check_label(label)
        self.kind = kind
        self.label = label
        self.unauthenticated = unauthenticated
        self.method = method
        self.docs = docs
        self.port = port
        self.startup_timeout_s = startup_timeout_s

    def spec(self) -> dict[str, Any]:
        """What a deploy says of it."""
        return {
            "kind": self.kind,
            "label": self.label or "",
            "unauthenticated": self.unauthenticated,
        }


class WebEndpoint(Method):
    """What an endpoint's decorator makes: for `@app.function` above it, or a class around it."""

    def __init__(self, raw: Any, options: WebOptions, concurrency: Concurrency | None) -> None:
        super().__init__(raw)
        self.web = options
        self.concurrency = concurrency

    def spec(self) -> dict[str, Any]:
        """What a deploy says of it, as a method."""
        assert self.web is not None
        return {"name": self.name, "is_async": True, "web": self.web.spec()}


def fastapi_endpoint(
    *,
    method: str = "GET",
    docs: bool = False,
    label: str | None = None,
    unauthenticated: bool = False,
) -> Decorator:
    """Serves one function at "/": its parameters are read as FastAPI reads them.

    The image must have FastAPI: `.pip_install("fastapi")`. docs: also /docs, which describes it.
    label: the first part of the URL's host name; by default the names of app and function.
    unauthenticated: open to anybody; by default a request needs an API key as a Bearer token.
    """
    if method not in _METHODS:
        raise InvalidArgumentError(f"method must be one of {', '.join(_METHODS)}, not {method!r}")
    options = WebOptions("fastapi", label, unauthenticated, method=method, docs=docs)
    return _decorator("fastapi_endpoint", options)


def asgi_app(*, label: str | None = None, unauthenticated: bool = False) -> Decorator:
    """Serves the ASGI app that the function returns: FastAPI, Starlette, Django and others.

    The function takes nothing and runs once in each container. label and unauthenticated are those
    of `fastapi_endpoint`.
    """
    return _decorator("asgi_app", WebOptions("asgi", label, unauthenticated))


def wsgi_app(*, label: str | None = None, unauthenticated: bool = False) -> Decorator:
    """Serves the WSGI app that the function returns, such as Flask's: each request on a thread."""
    return _decorator("wsgi_app", WebOptions("wsgi", label, unauthenticated))


def web_server(
    port: int,
    *,
    startup_timeout: float = _STARTUP_TIMEOUT_S,
    label: str | None = None,
    unauthenticated: bool = False,
) -> Decorator:
    """Serves whatever listens on that port of the container: the function starts it, and returns.

    startup_timeout: seconds that it has until it listens.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise InvalidArgumentError(f"port must be 1 to 65535, not {port!r}")
    if not isinstance(startup_timeout, (int, float)) or startup_timeout <= 0:
        raise InvalidArgumentError(
            f"startup_timeout must be a positive number of seconds, not {startup_timeout!r}"
        )
    options = WebOptions(
        "server", label, unauthenticated, port=port, startup_timeout_s=float(startup_timeout)
    )
    return _decorator("web_server", options)


def _decorator(name: str, options: WebOptions) -> Decorator:
    def decorate(function: Any) -> WebEndpoint:
        raw, concurrency, batching = parted(function)
        if batching is not None:
            raise InvalidArgumentError(BATCHED_ENDPOINT)
        if getattr(raw, "_ember_callable", False) or isinstance(raw, (Hook, Method)):
            raise InvalidArgumentError(
                f"@ember.{name}() stands right above its function, below @app.function() and in "
                "the place of @ember.method()"
            )
        if getattr(raw, "__code__", None) is None:
            raise InvalidArgumentError(
                f"@ember.{name}() is for functions, not for {type(raw).__name__} objects"
            )
        return WebEndpoint(raw, options, concurrency)

    return decorate


def _check_label(label: str | None) -> None:
    if label is None:
        return
    plain = isinstance(label, str) and label.isascii() and label.replace("-", "").isalnum()
    if not plain or label != label.lower() or label.strip("-") != label or len(label) > _MAX_LABEL:
        raise InvalidArgumentError(
            f"label must be 1 to {_MAX_LABEL} of a-z, 0-9 and -, with - neither first nor last, "
            f"not {label!r}"
        )
