"""``ember app``: lists apps, shows versions, goes back to one, stops."""

from __future__ import annotations

from ember._client import app_path, shared
from ember._rollout import wait_until_served
from ember.exception import NotFoundError

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser, close_names
from ._progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Of the names that `ember run` and `ember shell` give to apps for once.
RUN_MARK, SHELL_MARK, RUN_DIGITS = "-run-", "-shell-", 6
_DIGITS = set("0123456789abcdefghjkmnpqrstvwxyz")


def get_app(name: str) -> dict[str, Any]:
    """Return an app's document, or the error that names those with a close name."""
    try:
        return shared().get_json(app_path(name))
    except NotFoundError as error:
        raise unknown_app(name) from error


def all_apps() -> list[dict[str, Any]]:
    """Return the entries of the server's apps, those that are stopped too."""
    return shared().get_json("/api/v1/apps")["apps"]


def is_past_run(app: dict[str, Any]) -> bool:
    """Whether it is what an `ember run` or `shell` has left: stopped, under a name they give."""
    _, mark, rest = app["name"].rpartition("-")
    given = app["name"].endswith((RUN_MARK + rest, SHELL_MARK + rest))
    is_once = bool(mark) and given and len(rest) == RUN_DIGITS and not set(rest) - _DIGITS
    return is_once and app["state"] == "stopped"


def unknown_app(name: str) -> Exception:
    """Return the error for an app that is not there."""
    names = [app["name"] for app in all_apps() if not is_past_run(app)]
    evidence = close_names(name, names) or (
        f"there are: {', '.join(names[:10])}" if names else "nothing is deployed yet"
    )
    return usage_error(
        f"there is no app {name!r}",
        evidence=evidence,
        next_step="ember app list" if names else "ember deploy FILE.py",
    )


def say_web_urls(functions: list[dict[str, Any]]) -> None:
    """Say where the web endpoints of an app are, and who may call them."""
    for function in functions:
        for endpoint in function["web"]:
            who = " (open to anybody)" if endpoint["unauthenticated"] else ""
            _terminal.say(f"  {endpoint['name']}  {endpoint['url']}{who}")


def list_web_urls(app: str, endpoints: Iterable[dict[str, Any]]) -> None:
    """Write where the web endpoints of an app are, below a table that has no room for it."""
    for endpoint in endpoints:
        _terminal.data(f"{app}.{endpoint['name']} is at {endpoint['url']}")


def list_apps(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember app list``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "--all", action="store_true", help="also what `ember run` and `ember shell` have left"
    )
    parser.add_json()
    options = parser.parse_args(argv)
    apps = [app for app in all_apps() if options.all or not is_past_run(app)]
    if options.json:
        _terminal.document({"apps": apps})
        return _exit.OK
    rows = [
        {
            **app,
            "app": app["name"],
            "state": f"{app['state']}, {app['rollout']['version']} comes up"
            if app["rollout"]
            else app["state"],
            "updated": _terminal.ago(app["updated_ms"]),
        }
        for app in apps
    ]
    _terminal.table(
        rows,
        ["app", "state", "version", "functions", "containers", "updated"],
        right=["version", "functions", "containers"],
        cut_column="app",
        empty="no apps; next: ember deploy FILE.py",
    )
    for app in apps:
        list_web_urls(app["name"], app.get("web", ()))
    return _exit.OK


def history(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember app history``."""
    parser = Parser(prog, summary)
    parser.add_argument("app")
    parser.add_json()
    options = parser.parse_args(argv)
    try:
        document = shared().get_json(app_path(options.app, "history"))
    except NotFoundError as error:
        raise unknown_app(options.app) from error
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "version": version["version"],
            "state": version["state"],
            "deployed": _terminal.ago(version["created_ms"]),
            "functions": ", ".join(version["functions"]),
            "message": ": ".join(filter(None, [version["message"], version["reason"]])),
        }
        for version in document["versions"]
    ]
    _terminal.table(
        rows,
        ["version", "state", "deployed", "functions", "message"],
        right=["version"],
        cut_column="functions",
    )
    return _exit.OK


def rollback(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember app rollback``."""
    parser = Parser(prog, summary)
    parser.add_argument("app")
    parser.add_argument(
        "version", nargs="?", type=int, default=0, help="default: the one before the current one"
    )
    parser.add_rollout()
    parser.add_json()
    options = parser.parse_args(argv)
    request = {"version": options.version, "strategy": options.strategy}
    try:
        document = shared().post_json(app_path(options.app, "rollback"), request)
        if not options.detach:
            document = wait_until_served(document, shared(), Progress())
    except NotFoundError as error:
        if "version" in str(error):
            raise usage_error(str(error), next_step=f"ember app history {options.app}") from error
        raise unknown_app(options.app) from error
    if options.json:
        _terminal.document(document)
        return _exit.OK
    coming = document["serving"] < document["version"]
    _terminal.tick(
        f"{document['app']} is at version {document['serving']}"
        + (f"; version {document['version']} comes up" if coming else "")
    )
    _terminal.data(document["url"])
    say_web_urls(document["functions"])
    return _exit.OK


def stop(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember app stop``."""
    parser = Parser(prog, summary)
    parser.add_argument("app")
    parser.add_json()
    options = parser.parse_args(argv)
    try:
        document = shared().post_json(app_path(options.app, "stop"))
    except NotFoundError as error:
        raise unknown_app(options.app) from error
    if options.json:
        _terminal.document(document)
        return _exit.OK
    cancelled = document["cancelled"]
    _terminal.tick(
        f"{options.app} stopped" + (f", {cancelled} calls cancelled" if cancelled else "")
    )
    return _exit.OK
