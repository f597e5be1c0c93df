"""Starting the two processes: their flags, and the wait until they are ready.

What fails to start is ended here, and only that: others may be at work in the same directory.
"""

from __future__ import annotations

import os
import time

from . import _down, _terminal
from ._exit import platform_error
from ._server import DRAIN_TIMEOUT_S, Server, find_emberd
from ._watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import Any

# What each is started with unless `ember up` is told otherwise.
OPTIONS: dict[str, dict[str, Any]] = {
    "node": {
        "simulate_gpus": None,
        "isolation": "auto",
        "network": "auto",
        "container_range": None,
        "allow_network": [],
    },
    "serve": {
        "listen": "127.0.0.1:7777",
        "web_listen": None,
        "web_domain": None,
        "web_open_rate": 50,
        "host_name": [],
        "workspace_queue_limit": 50_000,
        "results_days": 7,
        "webhooks_allow": [],
        "master_key_env": None,
        "master_key_command": None,
        "log_container_mib": 16,
        "log_app_mib": 256,
        "log_total_mib": 1024,
    },
}
_MEMORY = "up.json"  # what they were started with, for when one of them has to start again
_START_TIMEOUT_S = 60.0


def start(server: Server, given: dict[str, Any]) -> None:
    """Start what does not run yet, the node first; undo on failure."""
    emberd = find_emberd()
    how = _how(server, given)
    node_pid = None
    try:
        if server.pid("node") is None:
            node_pid = start_node(server, emberd, _node_flags(how), without=how["master_key_env"])
            _remember(server, "node", how)
        if server.pid("serve") is None:
            _start_serve(server, emberd, how)
            _remember(server, "serve", how)
    except BaseException:
        if node_pid is not None:
            _down.stop_node(node_pid, keep_containers=True)
        raise


def _how(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    """Return all options: as given, else as before beside what still runs, else by default."""
    before = _remembered(server) if any(server.pid(role) is not None for role in OPTIONS) else {}
    how: dict[str, Any] = {}
    for role, defaults in OPTIONS.items():
        how |= {**defaults, **before.get(role, {})}
    return {**how, **given}


def _remembered(server: Server) -> dict[str, Any]:
    import json

    try:
        with open(server.path(_MEMORY), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _remember(server: Server, role: str, how: dict[str, Any]) -> None:
    import json

    text = json.dumps({**_remembered(server), role: {name: how[name] for name in OPTIONS[role]}})
    with open(server.path(_MEMORY), "w", encoding="utf-8") as file:
        file.write(text)


def start_node(server: Server, emberd: str, flags: list[str], *, without: str | None = None) -> int:
    """Start the node, which takes over the containers of an earlier one; return its process.

    It gets all of the environment but the variable that it is to be without.
    """
    _unlink(server.node_socket)
    command = [emberd, "node", "--data", server.data, *node_tools(), *flags]
    environment = {name: value for name, value in os.environ.items() if name != without}
    return _launch(server, "node", command, lambda: os.path.exists(server.node_socket), environment)


def key_variable(server: Server) -> str | None:
    """Return the variable that holds the master key, where it was last said to be in one."""
    return _remembered(server).get("serve", {}).get("master_key_env")


def remembered_node(server: Server) -> dict[str, Any]:
    """Return what the node was last started with, else the defaults."""
    return {**OPTIONS["node"], **_remembered(server).get("node", {})}


def _node_flags(how: dict[str, Any]) -> list[str]:
    flags = container_flags(how)
    places = [how["listen"], how["web_listen"] or how["listen"]]
    if not any(map(_is_open_to_others, places)):
        flags.append("--allow-process")
    if how["simulate_gpus"]:
        flags += ["--simulate-gpus", how["simulate_gpus"]]
    return flags


def container_flags(how: dict[str, Any]) -> list[str]:
    """Return the flags of ``emberd`` that say how containers are started."""
    flags = ["--isolation", how["isolation"], "--network", how["network"]]
    if how["container_range"]:
        flags += ["--container-range", how["container_range"]]
    for network in how["allow_network"]:
        flags += ["--allow-network", network]
    return flags


def _start_serve(server: Server, emberd: str, how: dict[str, Any]) -> None:
    _unlink(server.url_path)
    command = [emberd, "serve", "--data", server.data, "--listen", how["listen"]]
    command += ["--prices", _price_book(emberd), "--drain-seconds", str(DRAIN_TIMEOUT_S)]
    command += _serve_flags(how)
    _launch(server, "serve", command, lambda: bool(server.url()))


def _serve_flags(how: dict[str, Any]) -> list[str]:
    flags = []
    for name in (
        "workspace_queue_limit", "results_days", "web_open_rate",
        "log_container_mib", "log_app_mib", "log_total_mib",
    ):  # fmt: skip
        flags += [f"--{name.replace('_', '-')}", str(how[name])]
    for name in ("web_listen", "web_domain", "master_key_env", "master_key_command"):
        if how[name]:
            flags += [f"--{name.replace('_', '-')}", how[name]]
    for name in how["host_name"]:
        flags += ["--host-name", name]
    for network in how["webhooks_allow"]:
        flags += ["--webhooks-allow", network]
    return flags


def node_tools() -> list[str]:
    """Return where the node finds its tools, and what containers need of Python."""
    import importlib.util
    import sys

    arguments = []
    for name in ("ember", "cloudpickle"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise platform_error(f"the package {name} is not installed", next_step="make setup")
        arguments += ["--python", f"{name}={os.path.dirname(spec.origin)}"]
    for name in ("uv", "py-spy", "runsc"):
        program = os.path.join(os.path.dirname(sys.executable), name)
        arguments += [f"--{name}", program if os.access(program, os.X_OK) else name]
    return arguments


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


def _launch(
    server: Server,
    role: str,
    command: list[str],
    ready: Callable[[], bool],
    environment: dict[str, str] | None = None,
) -> int:
    """Start a process and wait until it is ready; return its id."""
    began_s = time.monotonic()
    log = server.open_log(role)
    offset = os.lseek(log, 0, os.SEEK_END)
    process = _spawn(command, log, environment)
    try:
        with Watch([server.data, server.path("node")], process.pid) as watch:
            outcome = watch.wait_until(ready, _START_TIMEOUT_S)
    except BaseException:
        process.kill()
        raise
    if outcome == "ready":
        _terminal.tick(f"emberd {role}", time.monotonic() - began_s)
        return process.pid
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


def _spawn(
    command: list[str], log: int, environment: dict[str, str] | None
) -> subprocess.Popen[bytes]:
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
            env=environment,
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


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
