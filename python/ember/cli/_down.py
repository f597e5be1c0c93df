"""``ember down``: lets running calls finish, then stops the server and the node."""

from __future__ import annotations

import signal
import time

from . import _exit, _terminal
from ._exit import platform_error
from ._parser import Parser
from ._server import Server, signal_process, wait_for_end

_DRAIN_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 60.0
_PROGRESS_EVERY_S = 2.0


def down(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember down``."""
    parser = Parser(prog, summary)
    parser.add_data()
    parser.add_argument("--now", action="store_true", help="cancel running calls, do not wait")
    options = parser.parse_args(argv)
    server = Server(options.data)
    if server.pid("serve") is None and server.pid("node") is None:
        _terminal.say(f"Ember does not run on {server.data}")
        return _exit.OK
    stop_processes(server, now=options.now)
    return _exit.OK


def stop_processes(server: Server, *, now: bool) -> None:
    """Stop the server, which drains unless it is now, and then the node."""
    for role in ("serve", "node"):
        pid = server.pid(role)
        if pid is not None:
            began_s = time.monotonic()
            _stop(role, pid, now)
            _terminal.tick(f"emberd {role} stopped", time.monotonic() - began_s)


def _stop(role: str, pid: int, now: bool) -> None:
    signal_process(pid, signal.SIGTERM)
    if now and role == "serve":
        signal_process(pid, signal.SIGINT)  # a second, other signal ends the draining
    drains = role == "serve" and not now
    began_s = time.monotonic()
    limit_s = _DRAIN_TIMEOUT_S if drains else _STOP_TIMEOUT_S
    while not wait_for_end(pid, _PROGRESS_EVERY_S):
        waited_s = time.monotonic() - began_s
        if waited_s > limit_s:
            raise platform_error(
                f"emberd {role} (process {pid}) has not stopped in {limit_s:.0f} s",
                next_step=f"kill -9 {pid}",
            )
        hint = "; ember down --now cancels them" if drains else ""
        _terminal.say(
            f"  waiting for {'running calls' if drains else f'emberd {role}'}, "
            f"{waited_s:.0f} s{hint}"
        )
