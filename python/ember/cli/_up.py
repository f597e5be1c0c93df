"""``ember up``: starts the node and the server, waits until they serve, says what they offer."""

from __future__ import annotations

import os
import time

from ember import _config
from ember._client import Client
from ember.exception import UnavailableError

from . import _down, _exit, _status, _terminal
from ._exit import platform_error
from ._lock import alone_on
from ._parser import Parser
from ._server import Server, wait_for_end
from ._start import OPTIONS, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO_NODE = "no node is connected"  # as the server has it among what is missing
_FIND_NODE_TIMEOUT_S = 10.0
_LOG_FILES = {
    "container": "log files of one container",
    "app": "log files of one app",
    "total": "log files of all",
}


def up(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember up``."""
    parser = Parser(prog, summary)
    parser.add_data()
    _add_serve_options(parser)
    _add_node_options(parser)
    parser.add_argument("--foreground", action="store_true", help="stay until Ctrl-C, then stop")
    parser.add_json()
    options = parser.parse_args(argv)
    server = Server(options.data)
    server.make()
    names = [name for defaults in OPTIONS.values() for name in defaults]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    _start_or_find(server, given)
    _report(server, options.json)
    if options.foreground:
        return _stay(server)
    return _exit.OK


def _add_serve_options(parser: Parser) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"where to serve (default: {OPTIONS['serve']['listen']}; port 0: any free one)",
    )
    parser.add_argument(
        "--web-listen",
        metavar="HOST:PORT",
        help="where to serve web endpoints (default: the next port after that of --listen)",
    )
    parser.add_argument(
        "--web-domain",
        metavar="NAME",
        help="where they are beside localhost, as apps.example.com, whose DNS has a wildcard;"
        " https://NAME behind a proxy that speaks TLS",
    )
    parser.add_argument(
        "--web-open-rate",
        type=int,
        metavar="N",
        help="requests a second that one address may make to a web endpoint without a key"
        f" (default: {OPTIONS['serve']['web_open_rate']}; 0: any number)",
    )
    parser.add_argument(
        "--host-name",
        action="append",
        metavar="NAME",
        help="a name by which clients may reach it on loopback, beside localhost; repeatable",
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--master-key-env",
        metavar="NAME",
        help="the variable that holds the key of all secrets (default: the file master.key)",
    )
    key.add_argument(
        "--master-key-command",
        metavar="COMMAND",
        help="a shell's command that prints that key",
    )
    parser.add_argument(
        "--workspace-queue-limit",
        type=int,
        metavar="N",
        help="inputs that may wait in all functions of a workspace"
        f" (default: {OPTIONS['serve']['workspace_queue_limit']})",
    )
    parser.add_argument(
        "--results-days",
        type=int,
        metavar="N",
        help="how long the outcomes of spawned calls are kept"
        f" (default: {OPTIONS['serve']['results_days']})",
    )
    parser.add_argument(
        "--webhooks-allow",
        action="append",
        metavar="CIDR",
        help="a network that webhooks may go to, beside the public internet; repeatable",
    )
    for whose, what in _LOG_FILES.items():
        parser.add_argument(
            f"--log-{whose}-mib",
            type=int,
            metavar="N",
            help=f"{what}, in MiB (default: {OPTIONS['serve'][f'log_{whose}_mib']})",
        )


def _add_node_options(parser: Parser) -> None:
    parser.add_argument(
        "--simulate-gpus",
        metavar="SPEC",
        help="simulated devices for development, for example L4:2,H100:1",
    )
    parser.add_argument(
        "--isolation",
        choices=["auto", "container", "process"],
        help=f"how containers are kept apart (default: {OPTIONS['node']['isolation']})",
    )
    parser.add_argument(
        "--network",
        choices=["auto", "veth", "slirp4netns"],
        help="how containers get a network of their own (default: the best that works here)",
    )
    parser.add_argument(
        "--container-range",
        metavar="CIDR",
        help="the private network of their addresses with veth (default: one that is free here)",
    )
    parser.add_argument(
        "--allow-network",
        action="append",
        metavar="CIDR",
        help="a private network, or an address of this machine, that containers may reach;"
        " repeatable",
    )


def _start_or_find(server: Server, given: dict[str, Any]) -> None:
    """Start what does not run; a server that is stopping is waited for first."""
    while True:
        with alone_on(server):
            stopping = _stopping_serve(server)
            if stopping is None:
                _start_missing(server, given)
                return
        _terminal.say(f"Ember is stopping on {server.data}; it starts again after that")
        _down.wait_for_drain(stopping)


def _stopping_serve(server: Server) -> int | None:
    """Return the process of a server that drains, or listens no more."""
    pid, url = server.pid("serve"), server.url()
    if pid is None or not url:
        return None
    try:
        Client(_config.Config(url, "")).get_json("/healthz")
    except UnavailableError as error:
        was_told = error.retry_after_s is not None
        if was_told or isinstance(error.__cause__, ConnectionRefusedError):
            return pid
    return None


def _start_missing(server: Server, given: dict[str, Any]) -> None:
    running = [role for role in OPTIONS if server.pid(role) is not None]
    if len(running) == len(OPTIONS):
        _terminal.say(f"Ember runs already on {server.data}")
    for role in running:
        if given.keys() & OPTIONS[role].keys():
            _terminal.say(
                f"  emberd {role} runs as it was started; to start it otherwise: "
                "ember down, then ember up"
            )
    if len(running) < len(OPTIONS):
        start(server, given)


def _report(server: Server, as_json: bool) -> None:
    """Say where the server is, what it offers and what to do next."""
    server.use()
    config = _config.load()
    client = Client(config)
    status = _settled_status(client)
    if as_json:
        _terminal.document({"url": config.url, "key_path": server.key_path, **status})
        return
    _terminal.data(config.url)
    _terminal.say(_terminal.field("key", server.key_path))
    _terminal.say(_terminal.field("web", status["web_url"]))
    _status.describe(status, client.get_json("/api/v1/nodes")["nodes"], _terminal.say)
    if not server.is_default:
        _terminal.say(f"  shell      export EMBER_DATA={server.data}")
    _terminal.say(f"next: {next_command()}")


def _settled_status(client: Client) -> dict[str, Any]:
    """Return the status once the server has found a node that came back, which takes a moment."""
    deadline = time.monotonic() + _FIND_NODE_TIMEOUT_S
    while True:
        status = client.get_json("/api/v1/status")
        if _NO_NODE not in status["missing"] or time.monotonic() > deadline:
            return status
        time.sleep(0.02)


def next_command() -> str:
    """Return the command to try first: the example, where it lies here."""
    if os.path.exists("examples/hello.py"):
        return "ember run examples/hello.py --name Ada"
    return "ember run FILE.py"


def _stay(server: Server) -> int:
    """Wait until the server ends or somebody interrupts, then stop all."""
    import signal

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    pid = server.pid("serve")
    try:
        while pid is not None and not wait_for_end(pid, 3600):
            pass
    except KeyboardInterrupt:
        _down.stop(server, now=False)
        return _exit.OK
    tail = server.log_tail("serve")
    _down.stop(server, now=False)
    raise platform_error(
        "emberd serve ended", evidence=tail, next_step=f"read {server.log_path('serve')}"
    )
