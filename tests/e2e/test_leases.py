"""Leases: a person has a device to themselves for a time, and then it is back."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, kill, running_server, wait_until
from test_devices import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["machine"]  # a fixture of another file

HOUR_MS = 3_600_000


@pytest.fixture
def fleet() -> Iterator[Server]:
    with running_server("--simulate-gpus", "L4:1") as server:
        server.simulate_gpus = "L4:1"  # after a restart too
        server.deploy("leased_gpu.py")
        yield server


def device_of(server: Server) -> dict[str, Any]:
    (node,) = server.http("GET", "/api/v1/nodes").document["nodes"]
    return next(device for device in node["devices"] if device["type"] == "L4")


def reason(server: Server, function: str) -> str:
    functions = server.http("GET", "/api/v1/apps/leased-gpu").document["functions"]
    return next(row["reason"] for row in functions if row["name"] == function)


@contextlib.contextmanager
def calling(server: Server, function: str, **arguments: object) -> Iterator[list[Any]]:
    """Calls it meanwhile; the list has the answer afterwards."""
    answers: list[Any] = []
    caller = threading.Thread(
        target=lambda: answers.append(server.call("leased-gpu", function, **arguments))
    )
    caller.start()
    try:
        yield answers
    finally:
        caller.join()


def test_a_leased_device_is_out_of_the_fleet_until_it_is_given_back(fleet: Server) -> None:
    made = fleet.cli("lease", "gpu", "L4", "--for", "2h")
    lease_id = made.stdout.strip()
    assert "it is simulated" in made.stderr
    assert f"ember lease end {lease_id}" in made.stderr
    assert device_of(fleet)["state"] == "leased"
    assert device_of(fleet)["reason"].startswith("leased by ")
    assert "L4 (simulated, leased)" in fleet.cli("node", "list").stdout
    assert lease_id in fleet.cli("lease", "list").stdout
    with calling(fleet, "hold") as answers:
        wait_until("the call waits", lambda: "leased, the first for" in reason(fleet, "hold"))
        assert not fleet.containers("leased-gpu")
        ended = fleet.cli("lease", "end", lease_id)
        assert "is back in the fleet" in ended.stderr
    assert answers[0].status == 200
    assert fleet.json("lease", "list") == {"leases": []}
    assert fleet.cli("lease", "end", lease_id, status=2).stderr.count("there is no lease") == 1


def test_a_lease_ends_by_itself_and_is_billed_to_its_holder(fleet: Server) -> None:
    lease = fleet.http("POST", "/api/v1/leases", {"gpu": ["L4"], "duration_ms": 1500}).document
    assert lease["until_ms"] == lease["from_ms"] + 1500
    assert lease["simulated"]
    with calling(fleet, "hold") as answers:
        pass
    assert answers[0].status == 200
    bill = fleet.json("cost", "--by", "app,function,phase")["rows"]
    (row,) = [row for row in bill if row["app"] == "(leases)"]
    assert row["function"] == lease["holder"]
    assert (row["phase"], row["gpu_ms"]) == ("leased", 1500)
    assert row["simulated"]
    assert "1 leases" in fleet.cli("doctor", "--state").stdout


def test_a_busy_device_is_not_taken_and_who_waits_gets_it_first(fleet: Server) -> None:
    with calling(fleet, "hold", wait_s=5):
        wait_until("it runs", lambda: fleet.containers("leased-gpu"))
        refused = fleet.cli("lease", "gpu", "L4", "--for", "1h", status=4)
        assert "no L4 can be leased: the one such device is in use" in refused.stderr
        assert "--wait" in refused.stderr
        with fleet.start("lease", "gpu", "--vram", "20GB", "--for", "1h", "--wait") as waiting:
            wait_until("it waits", lambda: fleet.json("lease", "list")["leases"])
            (lease,) = fleet.json("lease", "list")["leases"]
            assert (lease["state"], lease["gpu"]) == ("waiting", "any with 20 GB")
            fleet.http("POST", "/api/v1/apps/leased-gpu/stop")
            stdout, _ = waiting.communicate(timeout=60)
            assert stdout.strip() == lease["lease_id"]
    refused = fleet.http("POST", "/api/v1/leases", {"gpu": ["L4"], "duration_ms": HOUR_MS})
    assert refused.status == 429
    assert "the first lease of one ends in" in refused.message
    fleet.cli("lease", "end", lease["lease_id"])


def test_who_stops_waiting_gets_none(fleet: Server) -> None:
    with calling(fleet, "hold", wait_s=5):
        wait_until("it runs", lambda: fleet.containers("leased-gpu"))
        with fleet.start("lease", "gpu", "L4", "--for", "1h", "--wait"):
            wait_until("it waits", lambda: fleet.json("lease", "list")["leases"])
        wait_until("it waits no more", lambda: not fleet.json("lease", "list")["leases"])


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["H100", "--for", "1h"], 2, "no node has such a device; the fleet has 1 x L4"),
        (["H1000", "--for", "1h"], 2, "unknown GPU type"),
        (["--for", "1h"], 2, "say which GPU"),
        (["L4", "--for", "8d"], 2, "duration_ms must be from 1000"),
        (["L4", "--for", "later"], 2, "is none of 30d"),
        (["--vram", "900GB", "--for", "1h"], 2, "no GPU type has 900 GB"),
    ],
)
def test_nonsense_is_refused(fleet: Server, words: list[str], status: int, told: str) -> None:
    assert told in fleet.cli("lease", "gpu", *words, status=status).stderr


def test_leases_survive_restarts_of_both_sides(fleet: Server) -> None:
    lease = fleet.json("lease", "gpu", "L4", "--for", "1h")
    for role in ("serve", "node"):
        kill(fleet, role)
        fleet.up()
        wait_until("it is leased", lambda: device_of(fleet)["state"] == "leased")
        (again,) = fleet.json("lease", "list")["leases"]
        assert again["until_ms"] == lease["until_ms"]
    fleet.cli("lease", "end", lease["lease_id"])
    assert fleet.call("leased-gpu", "hold").status == 200


def test_a_device_still_used_when_its_lease_ends_stays_out(machine: Machine) -> None:
    server = machine.server
    machine.world["devices"] = machine.world["devices"][:1]
    machine.write()
    server.cli("down", "--now")
    machine.up()
    made = server.cli("lease", "gpu", "L4", "--for", "1h")
    assert "export CUDA_VISIBLE_DEVICES=GPU-5b1c-0" in made.stderr
    with subprocess.Popen(["/bin/sleep", "3600"]) as notebook:
        machine.world["devices"][0]["processes"] = [{"pid": notebook.pid}]
        machine.write()
        lease_id = made.stdout.strip()
        assert machine.states() == ["leased"]
        server.cli("lease", "end", lease_id)
        wait_until("it is in use", lambda: machine.states() == ["in_use"])
        notebook.kill()
    machine.world["devices"][0]["processes"] = []
    machine.write()
    wait_until("it is free", lambda: machine.states() == ["available"])
