"""Containers that reach listed destinations alone, by both mechanisms; names are a test's own."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, Server, kill, running_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = "1.1.1.1"
PRIVATE = "10.1.2.3"
LATE = "203.0.113.7"  # documentation's own: nobody is there
UNREACHABLE = "Network is unreachable"
UNKNOWN = "Name or service not known"
NO_SUCH_NAME = 3
TYPE_A = 1


class Names:
    """A name server of this machine, on a loopback address of its own; it counts what is asked."""

    def __init__(self) -> None:
        pid = os.getpid()
        self.address = f"127.{1 + (pid >> 16) % 250}.{(pid >> 8) % 256}.{pid % 256}"
        self.known: dict[str, str] = {}
        self.asked: set[str] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.address, 53))
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(512)
            if not question:
                return
            self._socket.sendto(self._answer_to(question), asker)

    def _answer_to(self, question: bytes) -> bytes:
        name, kind = self._read(question)
        self.asked.add(name)
        address = self.known.get(name)
        records = b""
        if address is not None and kind == TYPE_A:
            records = struct.pack("!3HIH", 0xC00C, TYPE_A, 1, 60, 4) + socket.inet_aton(address)
        flags = 0x8180 | (0 if address is not None else NO_SUCH_NAME)
        head = struct.pack(
            "!6H", int.from_bytes(question[:2], "big"), flags, 1, bool(records), 0, 0
        )
        return head + question[12:] + records

    @staticmethod
    def _read(question: bytes) -> tuple[str, int]:
        labels, at = [], 12
        while (size := question[at]) > 0:
            labels.append(question[at + 1 : at + 1 + size].decode())
            at += 1 + size
        return ".".join(labels).lower(), int.from_bytes(question[at + 1 : at + 3], "big")


class ServerWithNames(Server):
    """A server whose machine asks that name server first: in a mount namespace of its own."""

    def __init__(self, data: Path, namespace: int) -> None:
        super().__init__(data)
        self._namespace = namespace

    def command(self, *words: object) -> list[str]:
        entering = ["nsenter", f"--mount=/proc/{self._namespace}/ns/mnt", "--"]
        return [*entering, *super().command(*words)]


@pytest.fixture
def names() -> Iterator[Names]:
    if os.geteuid() != 0:
        pytest.skip("it takes root")
    names = Names()
    yield names
    names.close()


@pytest.fixture
def namespace(names: Names, tmp_path: Path) -> Iterator[int]:
    """A process that holds a mount namespace with a resolv.conf of the test's."""
    conf = tmp_path / "resolv.conf"
    machines = Path("/etc/resolv.conf").read_text()  # containers without a list ask these
    conf.write_text(f"nameserver {names.address}\n{machines}")
    script = f"mount --bind {conf} /etc/resolv.conf && echo ready && exec sleep infinity"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            yield holder.pid
        finally:
            holder.kill()


@pytest.fixture(params=["veth", "slirp4netns"])
def server(
    request: pytest.FixtureRequest, namespace: int, service: tuple[str, int]
) -> Iterator[Server]:
    """A node that opens the service's address to containers; lists open no more than that."""
    program = "nft" if request.param == "veth" else request.param
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = ("--network", request.param, "--allow-network", service[0])
    with running_server(*options, make=lambda data: ServerWithNames(data, namespace)) as server:
        yield server


def deploy(server: Server, *destinations: str, status: int = 0) -> str:
    done = server.cli(
        "deploy", APPS / "listed.py", status=status, DESTINATIONS=" ".join(destinations)
    )
    return done.stderr


def reach(server: Server, host: str, port: int, **how: object) -> str:
    return server.result("listed", "reach", host=host, port=port, **how)


def look_up(server: Server, name: str) -> list[str] | str:
    return server.result("listed", "look_up", name=name)


def test_listed_names_are_reached_and_nothing_else(
    server: Server, names: Names, service: tuple[str, int]
) -> None:
    address, port = service
    names.known = {"service.test": address, "private.test": PRIVATE, "other.test": address}
    deploy(server, "Service.test", "private.test")
    assert reach(server, address, port) == UNREACHABLE
    assert reach(server, "service.test", port) == "reached"
    assert reach(server, address, port) == "reached"
    assert look_up(server, "SERVICE.test.") == [address]
    for name in ("other.test", "x.service.test", "private.test"):
        assert look_up(server, name) == UNKNOWN, name
    assert names.asked == {"service.test", "private.test"}
    assert reach(server, PUBLIC, 53) == UNREACHABLE
    assert reach(server, PRIVATE, 53) == "No route to host"
    log = (server.data / "node.log").read_text()
    assert "network: other.test is not listed" in log
    assert f"network: private.test leads nowhere: {PRIVATE}/32 is closed to containers" in log


def test_listed_networks_are_reached_and_nothing_else(
    server: Server, names: Names, service: tuple[str, int]
) -> None:
    address, port = service
    names.known = {"service.test": address}
    deploy(server, address)
    assert reach(server, address, port) == "reached"
    assert reach(server, PUBLIC, 53) == UNREACHABLE
    assert look_up(server, "service.test") == UNKNOWN


def test_past_the_routes_nothing_is_reached_either(
    server: Server, names: Names, service: tuple[str, int]
) -> None:
    address, port = service
    names.known = {"other.test": address}
    deploy(server, "203.0.113.0/24")
    for host in (address, PUBLIC, PRIVATE):
        assert reach(server, host, port, by_interface=True) == "No route to host", host
    assert server.result("listed", "ask_by_interface", name="other.test") == NO_SUCH_NAME
    assert names.asked == set()


def test_a_killed_node_comes_back_to_its_containers_lists(
    server: Server, names: Names, service: tuple[str, int]
) -> None:
    address, port = service
    names.known = {"service.test": address, "late.test": LATE}
    deploy(server, "*.test")
    assert reach(server, "service.test", port) == "reached"
    before = {one["container_id"] for one in server.containers("listed")}
    kill(server, "node")
    server.up()
    assert reach(server, address, port) == "reached"
    assert reach(server, LATE, port) == UNREACHABLE
    assert reach(server, "late.test", port) not in (UNREACHABLE, UNKNOWN)
    assert before <= {one["container_id"] for one in server.containers("listed")}


def test_a_listed_network_that_is_closed_is_refused(server: Server) -> None:
    deploy(server, PRIVATE)
    words = f"{PRIVATE}/32 is closed to containers: open it with --allow-network"
    with server.start("call", "listed.look_up", '["service.test"]'):
        wait_until("its log says so", lambda: words in server.cli("logs", "listed").stdout)
        server.cli("app", "stop", "listed")


def test_what_is_no_destination_is_refused_at_the_deploy(server: Server) -> None:
    assert "is no destination" in deploy(server, "https://example.org", status=2)  # says the SDK
    assert "is no IPv4 network" in deploy(server, "1.2.3.4/33", status=2)  # says the server
