"""The life of the process: connect, import the user's module, serve, end."""

from __future__ import annotations

import time

_interpreter_us = time.process_time_ns() // 1000
_began_ns = time.monotonic_ns()

import os  # noqa: E402
import sys  # noqa: E402

from ember import _context, _json  # noqa: E402
from ember.runner import _frames  # noqa: E402
from ember.runner._codec import user_error_body  # noqa: E402
from ember.runner._logs import Logs  # noqa: E402
from ember.runner._runner import Entry, Function, Runner, Stopped  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_PROTOCOL = 1
_LOAD_FAILED, _PROTOCOL_ERROR = 70, 71


def main() -> NoReturn:
    """Runs the function that function.json names until the server says stop."""
    directory = os.environ.get("EMBER_RUN_DIR", "/ember/run")
    with open(f"{directory}/function.json", encoding="utf-8") as file:
        settings = _json.loads(file.read())
    _context.in_container = True
    link = _frames.Link(f"{directory}/runner.sock")
    _report_crashes()
    imports_us = (time.monotonic_ns() - _began_ns) // 1000
    steps = {"timeline_us": {"interpreter": _interpreter_us, "imports": imports_us}}
    hello = _hello(settings, "loading", [], **steps)
    link.connect(hello)
    if settings.get("secrets"):
        _await_secrets(link, hello)
    logs = Logs(link)
    runner, load_us = _load_or_fail(settings, link, logs)
    timeline = {"timeline_us": {"load": load_us}}
    logs.capture_descriptors()
    status = 0
    try:
        runner.run(_frames.frame(_frames.READY, _frames.JSON, 0, 0, _json.dumps(timeline).encode()))
    except Stopped:
        runner.exit()
    except _frames.ProtocolError as error:
        logs.give_up(f"protocol error: {error}\n")
        status = _PROTOCOL_ERROR
    finally:
        logs.close()
    sys.exit(status)


def _await_secrets(link: _frames.Link, hello: bytes) -> None:
    from ember.runner import _secrets

    try:
        if not _secrets.receive(link, hello):
            sys.exit(0)
    except _frames.ProtocolError as error:
        sys.stderr.write(f"protocol error: {error}\n")
        sys.exit(_PROTOCOL_ERROR)


def _runner(function: Function, settings: dict[str, Any], link: _frames.Link, logs: Logs) -> Runner:
    if function.is_async:
        from ember.runner._tasks import TaskRunner as Mode
    elif function.max_inputs > 1:
        from ember.runner._threads import ThreadRunner as Mode
    else:
        from ember.runner._sync import SyncRunner as Mode
    return Mode(function, link, logs, lambda state, busy: _hello(settings, state, busy))


def _hello(settings: dict[str, Any], state: str, busy: list[int], **more: object) -> bytes:
    body = {
        "protocol": _PROTOCOL,
        "container_id": settings["container_id"],
        "pid": os.getpid(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "state": state,
        "busy": busy,
        **more,
    }
    return _frames.frame(_frames.HELLO, _frames.JSON, 0, 0, _json.dumps(body).encode())


def _load_or_fail(settings: dict[str, Any], link: _frames.Link, logs: Logs) -> tuple[Runner, int]:
    began_ns = time.monotonic_ns()
    try:
        runner = _runner(_load(settings), settings, link, logs)
        _context.runner = runner
        runner.enter()
    except BaseException as error:
        logs.close()
        body = user_error_body("load_failed", error)
        try:
            link.send(_frames.frame(_frames.FAILED, _frames.JSON, 0, 0, body))
        except _frames.ConnectionLost:
            pass  # the status says enough
        sys.exit(_LOAD_FAILED)
    logs.finish_input((0, 0, 0))
    return runner, (time.monotonic_ns() - began_ns) // 1000


def _load(settings: dict[str, Any]) -> Function:
    """Imports the user's module under its own name and finds the function or class in it."""
    from ember._signature import Plan

    source = os.environ.get("EMBER_SOURCE") or settings.get("source") or "/source"
    sys.path[0:1] = [source, *settings.get("python_path", [])]
    __import__(settings["module"])
    found: Any = sys.modules[settings["module"]]
    for name in settings["qualname"].split("."):
        found = getattr(found, name)
    if "methods" in settings:
        from ember.runner._classes import load

        return load(found, settings)
    handler = getattr(found, "raw", None)
    if not callable(handler):
        raise TypeError(f"{settings['module']}.{settings['qualname']} is not an ember function")
    _context.app_names = (found.app_name, settings["app"])
    if found.web is not None:
        from ember.runner._web import Endpoint

        return Endpoint(handler, found.web, int(settings["max_inputs"])).function()
    entry = Entry(
        handler,
        Plan(handler, is_batched=bool(settings.get("is_batched"))),
        is_async=bool(settings["is_async"]),
        is_generator=found.is_generator,
    )
    return Function([entry], is_async=entry.is_async, max_inputs=int(settings["max_inputs"]))


def _report_crashes() -> None:
    """A fatal signal writes a traceback to the descriptor that the node watches."""
    import faulthandler

    faulthandler.enable(file=os.dup(2))


if __name__ == "__main__":
    main()
