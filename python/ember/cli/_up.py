"""``ember up``: starts the node and the server, waits until they serve, says what they offer."""

from __future__ import annotations

import os
import time

from ember import _config
from ember._client import Client

from . import _down, _exit, _status, _terminal
from ._exit import CommandError, platform_error
from ._parser import Parser
from ._server import DRAIN_TIMEOUT_S, Server, find_emberd, wait_for_end
from ._watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Callable

_LISTEN = "127.0.0.1:7777"
_START_TIMEOUT_S = 60.0


def up(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember up``."""
    parser = Parser(prog, summary)
    parser.add_data()
    parser.add_argument(
        "--listen",
        default=_LISTEN,
        metavar="HOST:PORT",
        help="where to serve (default: %(default)s; port 0: any free one)",
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which clients may reach it on loopback, beside localhost; repeatable",
    )
    parser.add_argument(
        "--simulate-gpus",
        metavar="SPEC",
        help="simulated devices for development, for example L4:2,H100:1",
    )
    parser.add_argument(
        "--isolation",
        choices=["auto", "container", "process"],
        default="auto",
        help="how containers are kept apart (default: %(default)s)",
    )
    parser.add_argument("--foreground", action="store_true", help="stay until Ctrl-C, then stop")
    parser.add_json()
    options = parser.parse_args(argv)
    server = Server(options.data)
    os.makedirs(server.data, exist_ok=True)
    already = server.pid("serve") is not None and server.pid("node") is not None
    if already:
        _terminal.say(f"Ember runs already on {server.data}")
        if _says_how(options):
            _terminal.say("  as it was started; to start it otherwise: ember down, then ember up")
    else:
        _start(server, options)
    _report(server, options.json)
    if options.foreground:
        return _stay(server)
    return _exit.OK


def _says_how(options: argparse.Namespace) -> bool:
    """Whether the options are about how it starts."""
    return bool(
        options.simulate_gpus
        or options.host_name
        or options.isolation != "auto"
        or options.listen != _LISTEN
    )


def _node_tools() -> list[str]:
    """Return where the node finds what containers need: this package, cloudpickle and uv."""
    import importlib.util
    import sys

    arguments = []
    for name in ("ember", "cloudpickle"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise platform_error(f"the package {name} is not installed", next_step="make setup")
        arguments += ["--python", f"{name}={os.path.dirname(spec.origin)}"]
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    return [*arguments, "--uv", uv if os.access(uv, os.X_OK) else "uv"]


def _is_open_to_others(listen: str) -> bool:
    """Whether other machines can reach it; not for what is no address, which serve refuses."""
    import ipaddress

    try:
        return not ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _price_book(emberd: str) -> str:
    """Return the price book that came with this emberd."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(emberd))))
    return os.path.join(root, "data", "prices.json")


def _start(server: Server, options: argparse.Namespace) -> None:
    """Start what does not run yet, the node first; undo on failure."""
    emberd = find_emberd()
    node_runs = server.pid("node") is not None
    try:
        if not node_runs:
            arguments = ["--isolation", options.isolation]
            if not _is_open_to_others(options.listen):
                arguments.append("--allow-process")
            if options.simulate_gpus:
                arguments += ["--simulate-gpus", options.simulate_gpus]
            start_node(server, emberd, arguments)
        if server.pid("serve") is None:
            _unlink(server.url_path)
            _launch(
                server,
                "serve",
                [
                    emberd,
                    "serve",
                    "--data",
                    server.data,
                    "--listen",
                    options.listen,
                    "--prices",
                    _price_book(emberd),
                    "--drain-seconds",
                    str(DRAIN_TIMEOUT_S),
                    *[word for name in options.host_name for word in ("--host-name", name)],
                ],
                lambda: bool(server.url()),
            )
    except (CommandError, KeyboardInterrupt):
        if not node_runs:
            _down.stop_processes(server, now=True, keep_containers=True)
        raise


def start_node(server: Server, emberd: str, arguments: list[str]) -> None:
    """Start the node; it takes over the containers that an earlier one has left."""
    _unlink(server.node_socket)
    _launch(
        server,
        "node",
        [emberd, "node", "--data", server.data, *_node_tools(), *arguments],
        lambda: os.path.exists(server.node_socket),
    )


def _launch(server: Server, role: str, command: list[str], ready: Callable[[], bool]) -> None:
    began_s = time.monotonic()
    log = server.open_log(role)
    offset = os.lseek(log, 0, os.SEEK_END)
    process = _spawn(command, log)
    with Watch([server.data, server.path("node")], process.pid) as watch:
        outcome = watch.wait_until(ready, _START_TIMEOUT_S)
    if outcome == "ready":
        _terminal.tick(f"emberd {role}", time.monotonic() - began_s)
        return
    tail = server.log_tail(role, offset)
    if outcome == "late":
        process.kill()
        raise platform_error(
            f"emberd {role} was not ready in {_START_TIMEOUT_S:.0f} s",
            evidence=tail,
            next_step=f"read {server.log_path(role)}",
        )
    status = process.wait()
    why = f"signal {-status}" if status < 0 else f"status {status}"
    raise platform_error(
        f"emberd {role} ended at its start with {why}",
        evidence=tail,
        next_step=_next_step(tail, server.log_path(role)),
    )


def _spawn(command: list[str], log: int) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and its terminal."""
    import subprocess

    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise platform_error(
            f"{command[0]} does not start: {error.strerror}", next_step="make build"
        ) from None
    finally:
        os.close(log)


def _next_step(tail: str, log_path: str) -> str:
    if "in use" in tail:
        return "ember up --listen 127.0.0.1:0, or another port"
    if "containers are not to be had" in tail:
        return "ember up as root, or with --isolation process (none: for code that you trust)"
    return f"read {log_path}"


def _report(server: Server, as_json: bool) -> None:
    """Say where the server is, what it offers and what to do next."""
    server.use()
    config = _config.load()
    client = Client(config)
    status = client.get_json("/api/v1/status")
    if as_json:
        _terminal.document({"url": config.url, "key_path": server.key_path, **status})
        return
    _terminal.data(config.url)
    _terminal.say(f"  key        {server.key_path}")
    _status.describe(status, client.get_json("/api/v1/nodes")["nodes"], _terminal.say)
    if not server.is_default:
        _terminal.say(f"  shell      export EMBER_DATA={server.data}")
    _terminal.say(f"next: {next_command()}")


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
        _down.stop_processes(server, now=False)
        return _exit.OK
    tail = server.log_tail("serve")
    _down.stop_processes(server, now=False)
    raise platform_error(
        "emberd serve ended", evidence=tail, next_step=f"read {server.log_path('serve')}"
    )


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
