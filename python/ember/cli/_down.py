"""``ember down``: lets running calls finish, then stops the server, the containers and the node.

The server stops containers as it drains. Those of calls that it gives up, or does not wait for,
outlive it, as in a restart; the node ends them when it is interrupted, and then itself.
"""

from __future__ import annotations

import signal
import time

from . import _exit, _terminal
from ._exit import platform_error
from ._lock import stopping_on
from ._parser import Parser
from ._server import DRAIN_TIMEOUT_S, Server, find_emberd, signal_process, wait_for_end

_STOP_TIMEOUT_S = 60.0
_PROGRESS_EVERY_S = 2.0


def down(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember down``."""
    parser = Parser(prog, summary)
    parser.add_data()
    parser.add_argument("--now", action="store_true", help="give running calls up, do not wait")
    options = parser.parse_args(argv)
    server = Server(options.data)
    runs = any(server.pid(role) is not None for role in ("serve", "node"))
    if not runs and not server.has_leftovers():
        _terminal.say(f"Ember does not run on {server.data}")
        return _exit.OK
    server.make()
    stop(server, now=options.now)
    return _exit.OK


def stop(server: Server, *, now: bool) -> None:
    """Stop the server, which drains unless it is now, and then the node with its containers."""
    with stopping_on(server):
        if server.has_leftovers():
            from ._start import key_variable, start_node

            _terminal.say("the node has gone and left processes; it comes back to end them")
            start_node(server, find_emberd(), ["--allow-process"], without=key_variable(server))
        pid = server.pid("serve")
        if pid is not None:
            _stop_serve(pid, now)
        pid = server.pid("node")
        if pid is not None:
            stop_node(pid, keep_containers=False)


def stop_node(pid: int, *, keep_containers: bool) -> None:
    """Stop a node; it ends its containers first, unless they are to be kept."""
    began_s = time.monotonic()
    signal_process(pid, signal.SIGTERM if keep_containers else signal.SIGINT)
    _wait("node", pid, _STOP_TIMEOUT_S, "emberd node")
    _terminal.tick("emberd node stopped", time.monotonic() - began_s)


def _stop_serve(pid: int, now: bool) -> None:
    began_s = time.monotonic()
    signal_process(pid, signal.SIGTERM)
    if now:
        signal_process(pid, signal.SIGINT)  # a second, other signal ends the draining
        _wait("serve", pid, _STOP_TIMEOUT_S, "emberd serve")
    else:
        wait_for_drain(pid)
    _terminal.tick("emberd serve stopped", time.monotonic() - began_s)
    if time.monotonic() - began_s > DRAIN_TIMEOUT_S:
        _terminal.say(f"  after {DRAIN_TIMEOUT_S} s it gave up the calls that still ran")


def wait_for_drain(pid: int) -> None:
    """Wait until a server that was told to stop has let its calls finish."""
    limit_s = DRAIN_TIMEOUT_S + _STOP_TIMEOUT_S
    _wait("serve", pid, limit_s, "running calls", "; ember down --now gives them up")


def _wait(role: str, pid: int, limit_s: float, what: str, hint: str = "") -> None:
    """Wait until a process has ended, and say now and then what is waited for."""
    began_s = time.monotonic()
    while not wait_for_end(pid, _PROGRESS_EVERY_S):
        waited_s = time.monotonic() - began_s
        if waited_s > limit_s:
            raise platform_error(
                f"emberd {role} (process {pid}) has not stopped in {limit_s:.0f} s",
                next_step=f"kill -9 {pid}",
            )
        _terminal.say(f"  waiting for {what}, {waited_s:.0f} s{hint}")
