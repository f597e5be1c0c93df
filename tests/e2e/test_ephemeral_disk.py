"""Disks of containers' own: larger than their memory, full for nobody else, gone with them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, wait_until

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture(scope="module")
def scribbles(server: Server) -> str:
    status = server.http("GET", "/api/v1/status").document
    if status["isolation"] != "container":
        pytest.skip("no containers on this machine")
    for line in status["missing"]:
        if line.startswith("ephemeral disks"):
            pytest.skip(line)
    server.deploy("scribbles.py")
    return "scribbles"


def disks_of(server: Server) -> list[str]:
    """Loop devices whose file is a container's of this server."""
    listed = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output", "BACK-FILE"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line for line in listed.stdout.splitlines() if str(server.data) in line]


def test_a_container_writes_more_to_its_disk_than_it_has_memory(
    server: Server, scribbles: str
) -> None:
    assert server.result(scribbles, "write", path="/tmp/large", size_mib=300) == 300


def test_it_is_all_of_the_root_that_can_be_written(server: Server, scribbles: str) -> None:
    sizes = server.result(scribbles, "sizes")
    assert set(sizes) == {"/", "/tmp", "/root", "/opt"}
    assert all(300 < size <= 400 for size in sizes.values()), sizes
    assert server.result(scribbles, "modes") == ["0o755", "0o1777", "0o700"]


def test_it_is_so_under_gvisor_too(server: Server, scribbles: str) -> None:
    del scribbles
    if why := server.json("status")["no_gvisor"]:
        pytest.skip(why)
    server.cli(
        "deploy", APPS / "scribbles.py",
        SCRIBBLES_APP="walled-scribbles", SCRIBBLES_ISOLATION="gvisor",
    )  # fmt: skip
    sizes = server.result("walled-scribbles", "sizes")
    server.cli("app", "stop", "walled-scribbles")
    assert all(300 < size <= 400 for size in sizes.values()), sizes


def test_a_full_disk_is_full_for_its_container_alone(server: Server, scribbles: str) -> None:
    written = server.result(scribbles, "write", path="/root/all", size_mib=1000)
    assert 50 < written < 400
    assert server.result(scribbles, "other", path="/root/some", size_mib=200) == 200


def test_a_disk_that_the_node_has_no_room_for_is_refused_with_the_reason(
    server: Server, scribbles: str
) -> None:
    said: list[str] = []

    def is_refused() -> bool:
        app = server.http("GET", f"/api/v1/apps/{scribbles}").document
        said.append(next(f["reason"] for f in app["functions"] if f["name"] == "too_much"))
        return "does not fit" in said[-1]

    with server.start("call", f"{scribbles}.too_much") as caller:
        wait_until("it says why it waits", is_refused)
        caller.terminate()
    assert "an ephemeral disk of 14305114 MiB does not fit: the node has " in said[-1]
    assert "the node has 0 MiB" not in said[-1], "it filled the disk to find out"


def test_disks_go_with_their_containers_whatever_ends_these(own_server: Server) -> None:
    own_server.deploy("scribbles.py")
    assert own_server.result("scribbles", "write", path="/tmp/some", size_mib=20) == 20
    assert len(disks_of(own_server)) == 1
    own_server.cli("app", "stop", "scribbles")
    wait_until("the disk has gone", lambda: not disks_of(own_server))
