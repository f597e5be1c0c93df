"""``ember container``: run a command in one, read its logs, see its processes, stop it."""

from __future__ import annotations

import time

from ember._client import quote, shared

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def container_path(container: str, verb: str) -> str:
    """The path of something to do with a container."""
    return f"/api/v1/containers/{quote(container)}/{verb}"


def execute(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container exec``."""
    from . import _remote

    mark = argv.index("--") if "--" in argv else len(argv)
    own, command = argv[:mark], argv[mark + 1 :]
    parser = Parser(prog, f"{summary}; it ends with the command's exit status")
    parser.usage = f"{prog} [-t | -T] CONTAINER -- COMMAND [ARGUMENT ...]"
    parser.add_argument("container", help="its id; ember container list shows it")
    parser.add_argument(
        "-t",
        "--terminal",
        action="store_true",
        help="give it one, as is done at one",
    )
    parser.add_argument("-T", "--no-terminal", action="store_true", help="give it pipes")
    options = parser.parse_args(own)
    if not command:
        raise usage_error("which command?", next_step=f"{prog} {options.container} -- ls -l")
    wanted = options.terminal or (_remote.is_interactive() and not options.no_terminal)
    return _remote.run(options.container, command, with_terminal=wanted)


def logs(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container logs``."""
    from ._logs import write

    parser = Parser(prog, summary)
    parser.add_argument("container")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    parser.add_argument(
        "--last",
        type=int,
        default=100,
        metavar="N",
        help="so many of the lines there are (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document a line")
    options = parser.parse_args(argv)
    for line in shared().stream_ndjson(
        "/api/v1/logs",
        container=options.container,
        last=options.last,
        follow=options.follow or None,
    ):
        write(line, options.json)
    return _exit.OK


def top(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container top``."""
    parser = Parser(prog, summary)
    parser.add_argument("container")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(container_path(options.container, "processes"))
    if options.json:
        _terminal.document(document)
        return _exit.OK
    now_ms = time.time() * 1e3
    rows = [
        {
            "pid": process["pid"],
            "user": process["user"],
            "state": process["state"],
            "cpu": _terminal.milliseconds(process["cpu_ms"]),
            "share": f"{_share(process, now_ms):.0%}",
            "memory": _terminal.size(process["rss_bytes"]),
            "threads": process["threads"],
            "started": _terminal.ago(process["started_ms"]),
            "command": _terminal.harmless(process["command"], _stdout()),
        }
        for process in document["processes"]
    ]
    _terminal.table(
        rows,
        ["pid", "user", "state", "cpu", "share", "memory", "threads", "started", "command"],
        right=["pid", "user", "cpu", "share", "memory", "threads"],
        cut_column="command",
    )
    return _exit.OK


def _share(process: dict[str, Any], now_ms: float) -> float:
    """The cores it has used in its life, on average."""
    return process["cpu_ms"] / max(now_ms - process["started_ms"], 1.0)


def _stdout() -> Any:
    import sys

    return sys.stdout


def stop(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container stop``."""
    parser = Parser(prog, f"{summary}; others are started where they are wanted")
    parser.add_argument("container")
    parser.add_argument(
        "--now",
        action="store_true",
        help="at once: what it runs begins anew in another, and uses no retry",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    path = container_path(options.container, "stop")
    document = shared().post_json(path + "?now=true" if options.now else path)
    if options.json:
        _terminal.document(document)
        return _exit.OK
    inputs = document["inputs"]
    if options.now or not inputs:
        _terminal.tick(f"{options.container} ends")
    else:
        what = "what it runs" if inputs == 1 else f"the {inputs} inputs that it runs"
        _terminal.tick(f"{options.container} takes no more inputs; it ends after {what}")
    return _exit.OK


def stack(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember container stack``."""
    parser = Parser(prog, summary)
    parser.add_argument("container")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(container_path(options.container, "stacks"))
    if options.json:
        _terminal.document(document)
        return _exit.OK
    for thread in document["threads"]:
        doing = "active" if thread["active"] else "idle"
        lock = ", holds the interpreter" if thread.get("owns_gil") else ""
        name = thread.get("thread_name") or f"thread {thread['thread_id']}"
        _terminal.data(_terminal.harmless(f"{name} ({doing}{lock})", _stdout()))
        for frame in thread["frames"]:
            file = frame.get("short_filename") or frame["filename"]
            text = f"    {frame['name']} ({file}:{frame['line']})"
            _terminal.data(_terminal.harmless(text, _stdout()))
    return _exit.OK
