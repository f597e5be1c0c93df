"""Where containers can send to: not to this machine and private networks, unless allowed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest
from conftest import APPS, Server, kill, networks_of, running_server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = "1.1.1.1"
METADATA = "169.254.169.254"
NAME = "pypi.org"


@pytest.fixture(params=["veth", "slirp4netns"])
def mechanism(request: pytest.FixtureRequest) -> str:
    """A way to give containers a network of their own that this machine has."""
    if os.geteuid() != 0:
        pytest.skip("it takes root")
    name: str = request.param
    program = "nft" if name == "veth" else name
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return name


def skip_without_own_network(server: Server) -> None:
    network = server.json("status")["network"]
    if not network.startswith("a network of its own"):
        pytest.skip(network)


def test_the_machine_and_private_networks_are_out_of_reach(
    mechanism: str, service: tuple[str, int]
) -> None:
    with running_server("--network", mechanism) as server:
        is_out_of_reach(server, service)
        way = {"veth": "a veth pair"}.get(mechanism, mechanism)
        assert f"out through {way}" in server.cli("status").stdout


def is_out_of_reach(server: Server, service: tuple[str, int]) -> None:
    server.deploy("reaches_out.py")
    for host, port in (service, (METADATA, 80), ("10.1.2.3", 80)):
        answer = server.result("reaches-out", "reach", host=host, port=port)
        assert answer == "No route to host", host
        by_device = server.result("reaches-out", "reach_by_device", host=host, port=port)
        assert len(by_device) > 1 and "reached" not in by_device.values(), host
    assert server.result("reaches-out", "route", host=PUBLIC).startswith("1")
    assert "out of reach" in server.cli("status").stdout


PAST_A_ROUTE = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    try:
        out.sendto(b"x", ("10.1.2.3", 9))
    except OSError as error:
        print(error.strerror)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"device")
    out.sendto(b"x", ("10.1.2.3", 9))
    print("sent")
"""


def test_a_route_alone_stops_nobody_who_names_a_device() -> None:
    """Why a firewall stands behind the routes: with a device named the kernel asks none."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("it takes root and iproute2")
    script = (
        "ip link add device type veth peer name other && ip link set other up && ip addr add 10.9.0.2/24 dev device && "
        'ip link set device up && ip route add unreachable 10.0.0.0/8 && exec "$@"'
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-c", PAST_A_ROUTE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "device type" in done.stderr or "not supported" in done.stderr:
        pytest.skip(f"no control: {done.stderr.strip()}")
    assert done.stdout.splitlines() == ["No route to host", "sent"], done.stderr


def test_what_is_allowed_is_within_reach(mechanism: str, service: tuple[str, int]) -> None:
    address, port = service
    with running_server("--network", mechanism, "--allow-network", address) as server:
        server.deploy("reaches_out.py")
        assert server.result("reaches-out", "reach", host=address, port=port) == "reached"
        assert server.result("reaches-out", "reach", host=METADATA, port=80) == "No route to host"
        assert address in server.cli("status").stdout


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("10.0.0.0/40", "is no IPv4 network"),
        ("127.0.0.1", "is loopback"),
        ("10.0.2.0/24", "leads to no other network"),
    ],
)
def test_a_network_that_cannot_be_opened_is_refused(data: Path, network: str, why: str) -> None:
    server = Server(data)
    done = server.cli("up", "--listen", "127.0.0.1:0", "--allow-network", network, status=5)
    assert why in done.stderr


def test_names_are_found_by_the_machines_own_name_server(mechanism: str) -> None:
    try:
        found = sorted({entry[4][0] for entry in socket.getaddrinfo(NAME, 80, socket.AF_INET)})
    except OSError as error:
        pytest.skip(f"this machine finds no names: {error}")
    with running_server("--network", mechanism) as server:
        server.deploy("reaches_out.py")
        assert server.result("reaches-out", "look_up", name=NAME) == found


def test_a_killed_node_comes_back_to_its_containers_networks_and_sweeps_the_rest(
    own_server: Server,
) -> None:
    server = own_server
    skip_without_own_network(server)
    if "out through a veth pair" not in server.json("status")["network"]:
        pytest.skip("this node has no veth pairs")
    server.deploy("reaches_out.py")
    route = server.result("reaches-out", "route", host=PUBLIC)
    (container,) = server.containers("reaches-out")
    record = server.data / "node" / "containers" / container["container_id"] / "network"
    veth = record.read_text().split()[1]
    wait_until("there are spare ones", lambda: len(networks_of(server.data)) > 2)
    # With their numbers: the next life may give a name that it has swept to another.
    before = {one for one in socket.if_nameindex() if one[1] in networks_of(server.data)}
    kill(server, "node")
    server.up()
    wait_until(
        "the others have been swept",
        lambda: {veth} == {name for _, name in before & set(socket.if_nameindex())},
    )
    assert server.result("reaches-out", "route", host=PUBLIC) == route
    assert server.containers("reaches-out") == [container | {"idle_ms": ANY}]


def test_a_network_that_is_killed_harms_no_call() -> None:
    with running_server("--network", "slirp4netns") as server:
        a_killed_network_harms_no_call(server)


def a_killed_network_harms_no_call(server: Server) -> None:
    server.deploy("reaches_out.py")
    server.result("reaches-out", "route", host=PUBLIC)
    (container,) = (c for c in server.containers("reaches-out") if c["function"] == "route")
    network = server.data / "node" / "containers" / container["container_id"] / "network"
    os.kill(int(network.read_text().split()[0]), signal.SIGKILL)
    wait_until(
        "its log says so", lambda: "its network ended" in server.cli("logs", "reaches-out").stdout
    )
    assert server.result("reaches-out", "route", host=PUBLIC) == "10.0.2.100"


def test_without_a_network_nothing_leaves_and_calls_go_on(server: Server) -> None:
    if server.json("status")["isolation"] != "container":
        pytest.skip("it takes containers")
    server.deploy("no_network.py")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0ember-e2e-no-network")  # the machine's, until the file is closed
        listener.listen()
        seen = server.result("no-network", "look", host=PUBLIC)
    assert seen == {
        "interfaces": ["lo"],
        "address": "OSError: Network is unreachable",
        "name": "gaierror: Temporary failure in name resolution",
        "loopback": "reached",
        "machine": "ConnectionRefusedError: Connection refused",
        "call": 42,
    }


def test_without_a_network_is_refused_where_functions_run_as_plain_processes() -> None:
    with running_server("--isolation", "process") as server:
        done = server.cli("deploy", APPS / "no_network.py", status=2)
        assert 'look asks for network="none", which takes containers' in done.stderr
