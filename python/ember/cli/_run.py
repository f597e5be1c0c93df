"""``ember run FILE[::NAME]``: an app for this once, its logs, its result and its price.

The app gets a name of its own, so that running a file never touches what is deployed from it.
"""

from __future__ import annotations

import os
import sys

from ember import _client, _context, _deploy
from ember._app import LocalEntrypoint
from ember._cls import Cls
from ember._function import Function, is_generator
from ember._signature import parameters

from . import _exit, _failure, _report, _terminal
from ._app import RUN_DIGITS, RUN_MARK
from ._arguments import PARAM_HELP, bind, class_values, take_params, usage
from ._call import item_text
from ._exit import usage_error
from ._interrupt import end_on_second_interrupt
from ._live_logs import LiveLogs
from ._parser import Parser, close_names
from ._progress import Progress
from ._script import load
from ._waiting import WaitingTold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._app import App
    from ember._signature import Parameter

_MAX_NAME = 63


class _MethodOf:
    """A method of a class, of which an instance is still to be made."""

    def __init__(self, cls: Cls[Any], method: str) -> None:
        self.cls = cls
        self.method = method
        self.name = f"{cls.name}.{method}"


if TYPE_CHECKING:
    Target = LocalEntrypoint | Function[..., Any] | _MethodOf


def run(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember run``."""
    file, name, words, options = _split(prog, summary, argv)
    _, app = load(file)
    target = _find(app, name, file)
    params, words = take_params(words) if isinstance(target, _MethodOf) else ([], words)
    if {"-h", "--help"} & set(words):
        _terminal.data(f"usage: {prog} {usage(f'{file}::{target.name}', _parameters(target))}")
        return _exit.OK
    in_place, named = bind(target.name, words, _parameters(target))
    work = _work(target, params)
    end_on_second_interrupt()
    app.rename(_once_name(app.name))
    _context.progress_by_default = sys.stderr.isatty()
    progress = Progress()
    with _deploy.run(app, progress=progress):
        progress.finish(f"app {app.name}, for this once")
        return _execute(app, target, lambda: work(*in_place, **named), "--no-prices" not in options)


def _split(prog: str, summary: str, argv: list[str]) -> tuple[str, str, list[str], list[str]]:
    """Part the file and our own options from the arguments of what is run."""
    if not argv or argv[0] in ("-h", "--help"):
        parser = Parser(prog, f"{summary}; what follows FILE are its arguments")
        parser.usage = f"{prog} FILE[::NAME] [ARGUMENTS] [--no-prices], NAME also CLASS.METHOD"
        parser.add_argument("--param", metavar="NAME=VALUE", action="append", help=PARAM_HELP)
        parser.add_argument(
            "--no-prices", action="store_true", help="leave out what the calls would cost elsewhere"
        )
        if argv:
            parser.parse_args(argv)
        raise usage_error("which file?", next_step=f"{prog} FILE.py")
    file, _, name = argv[0].partition("::")
    options = [word for word in argv[1:] if word == "--no-prices"]
    return file, name, [word for word in argv[1:] if word not in options], options


def _find(app: App, name: str, file: str) -> Target:
    """Return what to run: what is named, else the one entrypoint, else the one function."""
    callables = _callables(app)
    choices: dict[str, Target] = {**callables, **app.local_entrypoints}
    if name:
        if name in choices:
            return choices[name]
        raise usage_error(
            f"{file} has no function {name!r}",
            evidence=close_names(name, choices) or _listed(choices),
            next_step=f"ember run {file}::NAME",
        )
    for group in (app.local_entrypoints, callables):
        if len(group) == 1:
            return next(iter(group.values()))
        if "main" in group:
            return group["main"]
        if group:
            raise usage_error(
                f"{file} has several to run",
                evidence=_listed(group),
                next_step=f"ember run {file}::{next(iter(group))}",
            )
    raise usage_error(
        f"app {app.name} in {file} has no functions", next_step="add one with @app.function()"
    )


def _callables(app: App) -> dict[str, Function[..., Any] | _MethodOf]:
    """Return the functions of an app, and the methods of its classes."""
    found: dict[str, Function[..., Any] | _MethodOf] = {}
    for name, function in app.functions.items():
        if isinstance(function, Cls):
            for method in function.methods:
                found[f"{name}.{method}"] = _MethodOf(function, method)
        else:
            found[name] = function
    return found


def _parameters(target: Target) -> list[Parameter]:
    if isinstance(target, _MethodOf):
        return target.cls.methods[target.method].parameters
    if isinstance(target, Function):
        return target.parameters
    return parameters(target.raw)


def _work(target: Target, params: list[str]) -> Callable[..., Any]:
    """Return what does the work, on an instance with the given parameters where it takes one."""
    if isinstance(target, _MethodOf):
        declared = [one for one in target.cls.parameters.values() if one.init]
        given = class_values(target.cls.name, params, declared)
        method = getattr(target.cls(**given), target.method)
        return _items_printer(method) if method.is_generator else method.remote
    assert target.raw is not None
    if isinstance(target, LocalEntrypoint):
        return target.raw
    return _items_printer(target) if target.is_generator else target.remote


def _listed(names: Any) -> str:
    return f"there are: {', '.join(names)}"


def _once_name(name: str) -> str:
    suffix = RUN_MARK + os.urandom(RUN_DIGITS // 2).hex()
    return name[: _MAX_NAME - len(suffix)] + suffix


def _execute(app: App, target: Target, work: Callable[[], Any], with_prices: bool) -> int:
    """Do the work with its logs, write its result and its report."""
    what = f"{target.name}"
    logs = LiveLogs(app.name)
    try:
        with WaitingTold(app.name):
            result = work()
    except KeyboardInterrupt:
        _terminal.say(f"cancelling {what}; Ctrl-C again leaves at once")
        raise
    except BaseException as error:
        logs.finish()
        _report.report_failed(lambda: _calls_of(app.name))
        if _failure.is_user_s(error):
            local = isinstance(target, LocalEntrypoint)
            raise _failure.failed(what, error, with_local_frames=local) from error
        raise
    if not _prints_itself(target):
        _terminal.data(_text_of(result))
    _terminal.flush()
    logs.finish()
    _report.report(_calls_of(app.name), with_prices=with_prices)
    return _exit.OK


def _prints_itself(target: Target) -> bool:
    if isinstance(target, _MethodOf):
        return is_generator(target.cls.methods[target.method].raw)
    return isinstance(target, LocalEntrypoint) or target.is_generator


def _items_printer(target: Function[..., Any]) -> Callable[..., None]:
    """Return what runs a generator and writes each item as it comes, on a line of its own."""

    def work(*args: Any, **kwargs: Any) -> None:
        items = target.remote_gen(*args, **kwargs)
        try:
            for item in items:
                _terminal.data(item_text(item))
                _terminal.flush()
        finally:
            items.close()

    return work


def _text_of(result: Any) -> str:
    """Return a result as JSON where it is plain, else as Python shows it."""
    import json

    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(result)


def _calls_of(app: str) -> list[str]:
    """Return the ids of an app's calls, oldest first."""
    answer = _client.shared().get_json("/api/v1/calls", app=app, limit=_report.MOST_LISTED)
    return [call["call_id"] for call in reversed(answer["calls"])]
