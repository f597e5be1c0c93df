"""Shares of a GPU by declared memory, on simulated devices and on those of the stand-in."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, running_server, wait_until
from test_devices import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["machine"]  # a fixture of another file

TEN_GB = 10 * 10**9
SLOW_S = 20.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with running_server("--simulate-gpus", "L4:1,H100:1") as server:
        server.deploy("shares_gpu.py")
        yield server


def devices(server: Server, kind: str) -> list[dict[str, Any]]:
    (node,) = server.http("GET", "/api/v1/nodes").document["nodes"]
    return [device for device in node["devices"] if device["type"] == kind]


def states(server: Server, function: str) -> list[str]:
    rows = server.containers("shares-gpu")
    return sorted(row["state"] for row in rows if row["function"] == function)


def test_containers_share_a_device_until_its_memory_is_promised(shared: Server) -> None:
    callers = [
        threading.Thread(target=shared.call, args=("shares-gpu", "share"), kwargs={"wait_s": 5})
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    wait_until("two run", lambda: states(shared, "share") == ["busy", "busy"])
    (device,) = devices(shared, "L4")
    assert len(device["containers"]) == 2
    assert device["vram_bytes_shared"] == 2 * TEN_GB
    shown = shared.cli("node", "list").stdout
    assert "L4 (simulated, shared)" in shown
    assert "5.8 GB of 25.8 GB are left to share" in shown
    (function,) = [
        row
        for row in shared.http("GET", "/api/v1/apps/shares-gpu").document["functions"]
        if row["name"] == "share"
    ]
    assert function["gpu"] == "10 GB of L4"
    assert function["settings"]["vram_bytes"] == TEN_GB
    assert function["reason"].startswith("waits for 10 GB of a GPU's memory: the most that one has")
    for caller in callers:
        caller.join()


def test_a_share_is_told_its_limit_and_billed_as_its_part(shared: Server) -> None:
    assert shared.result("shares-gpu", "share")["limit"] == str(TEN_GB)
    answer = shared.call("shares-gpu", "share")
    call = answer.headers["ember-call-id"]
    cost = shared.http("GET", f"/api/v1/calls/{call}/cost").document
    assert cost["gpu"] == "10 GB of L4 (simulated)"
    wait_until("no container is left", lambda: not shared.containers("shares-gpu"), 120)
    rows = shared.json("cost", "--by", "function,meter")["rows"]
    held_ms = {row["meter"]: row for row in rows if row["function"] == "share"}
    # The same time on the meters: for CPU whole, for the GPU the share's part of it.
    cpu_ms = held_ms["cpu"]["cpu_millicore_ms"] / 125
    assert held_ms["gpu"]["gpu_ms"] == pytest.approx(cpu_ms * TEN_GB / (24 << 30), rel=0.001)
    assert "tile the lives" in shared.cli("doctor", "--state").stdout


def test_memory_without_a_type_means_the_cheapest_that_has_as_much(shared: Server) -> None:
    container = shared.result("shares-gpu", "any_with_as_much")
    (row,) = [r for r in shared.containers("shares-gpu") if r["container_id"] == container]
    assert row["gpu"] == "H100 (simulated)"
    document = shared.http("GET", "/api/v1/apps/shares-gpu").document
    (function,) = [f for f in document["functions"] if f["name"] == "any_with_as_much"]
    assert function["gpu"] == "any with 30 GB"


@pytest.mark.parametrize(
    ("gpu", "vram_bytes", "told"),
    [
        (["L4"], 30 * 10**9, "a share of 30 GB is more than one L4 has"),
        (["L4:2"], 10**9, "vram asks for a share of one device"),
        ([], 900 * 10**9, "no GPU type has 900 GB of memory; those that there are: A10G 24 GiB"),
        ([], 100 * 10**9, "any with 100 GB; the fleet has"),
        (["L4"], -5, "vram must be greater than zero"),
    ],
)
def test_nonsense_is_refused_with_what_there_is(
    shared: Server, gpu: list[str], vram_bytes: int, told: str
) -> None:
    function = {
        "name": "f", "module": "nonsense", "qualname": "f", "gpu": gpu, "vram_bytes": vram_bytes
    }  # fmt: skip
    answer = shared.http(
        "POST", "/api/v1/apps/nonsense/deploy", {"source": "0" * 64, "functions": [function]}
    )
    assert answer.status in (400, 409), answer
    assert told in answer.message


def test_one_who_holds_more_than_its_share_is_ended_and_named(machine: Machine) -> None:
    server = machine.server
    if server.http("GET", "/api/v1/status").document["isolation"] != "container":
        pytest.skip("no containers on this machine")
    # Alone on the one device that is left.
    machine.world["devices"][1]["processes"] = [{"pid": os.getpid()}]
    machine.write()
    wait_until("one is in use", lambda: "in_use" in machine.states())
    server.deploy("shares_gpu.py")
    answers: dict[str, Any] = {}

    def call(who: str) -> None:
        answers[who] = server.call("shares-gpu", "share", wait_s=SLOW_S)

    callers = [threading.Thread(target=call, args=(who,)) for who in ("greedy", "modest")]
    callers[0].start()
    wait_until("the first runs", lambda: states(server, "share") == ["busy"])
    (greedy,) = server.containers("shares-gpu")
    callers[1].start()
    wait_until("both run", lambda: states(server, "share") == ["busy", "busy"])
    (modest,) = [
        row
        for row in server.containers("shares-gpu")
        if row["container_id"] != greedy["container_id"]
    ]
    assert greedy["devices"] == modest["devices"]

    from processes import running

    def process_of(container: dict[str, Any]) -> int:
        marked = [p.pid for p in running() if p.bears(container["container_id"])]
        return max(marked)

    machine.world["devices"][0]["processes"] = [
        {"pid": process_of(greedy), "memory_bytes": 11_100_000_000},
        {"pid": process_of(modest), "memory_bytes": TEN_GB},
    ]
    machine.write()
    for caller in callers:
        caller.join()
    (failed,) = [answer for answer in answers.values() if answer.status != 200]
    assert failed.code == "out_of_memory"
    assert "used 11.1 GB of its 10 GB share of a GPU" in failed.message
    assert "vram=" in failed.message
    (served,) = [answer for answer in answers.values() if answer.status == 200]
    assert served.document["container"] == modest["container_id"]


def test_shares_that_cannot_be_watched_are_said(machine: Machine) -> None:
    server = machine.server
    if server.http("GET", "/api/v1/status").document["isolation"] != "container":
        pytest.skip("no containers on this machine")
    server.deploy("shares_gpu.py")
    server.result("shares-gpu", "share")
    (container,) = server.containers("shares-gpu")

    from processes import running

    pid = max(p.pid for p in running() if p.bears(container["container_id"]))
    for device in machine.world["devices"]:
        device["processes"] = [{"pid": pid}] if device["uuid"].endswith("-0") else []
    machine.write()

    def is_said() -> bool:
        # The container may lie on either device: a process of ours on another makes it in use.
        if "in_use" in machine.states():
            first, second = machine.world["devices"]
            first["processes"], second["processes"] = second["processes"], first["processes"]
            machine.write()
            wait_until("it is free again", lambda: "in_use" not in machine.states())
        return "shares of GPUs are not watched" in server.cli("status").stdout

    wait_until("it is said", is_said)
