"""Real devices in the fleet, as a stand-in for their driver's library tells (tests/nvml)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY, Server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = REPOSITORY / "build" / "tests" / "nvml"
CORDON_LIMIT_S = 5.0


class Machine:
    """A server on a machine with two L4s, and what the stand-in says of them."""

    def __init__(self, server: Server, script: Path) -> None:
        self.server = server
        self._script = script
        self.world: dict[str, Any] = {
            "devices": [
                {
                    "uuid": f"GPU-5b1c-{minor}", "name": "NVIDIA L4", "memory_bytes": 24_152_899_584,
                    "minor": minor, "bus": minor, "processes": [],
                }
                for minor in (0, 1)
            ],
            "events": [],
        }  # fmt: skip
        self.write()

    def write(self) -> None:
        part = self._script.with_suffix(".part")
        part.write_text(json.dumps(self.world))
        part.replace(self._script)

    def devices(self) -> list[dict[str, Any]]:
        """The real ones."""
        (node,) = self.server.http("GET", "/api/v1/nodes").document["nodes"]
        return [device for device in node["devices"] if not device["simulated"]]

    def states(self) -> list[str]:
        return sorted(device["state"] for device in self.devices())


@pytest.fixture
def machine(data: Path) -> Iterator[Machine]:
    server = Server(data)
    server.simulate_gpus = "H100:1"
    script = data / "world.json"
    server.environment |= {"LD_LIBRARY_PATH": str(LIBRARIES), "NVML_STAND_IN_SCRIPT": str(script)}
    machine = Machine(server, script)
    server.up()
    try:
        yield machine
    finally:
        server.cli("down", "--now")


def test_devices_join_the_fleet_and_leave_it_by_how_they_stand(machine: Machine) -> None:
    assert machine.states() == ["available", "available"]
    assert {device["type"] for device in machine.devices()} == {"L4"}
    assert "2 x L4" in machine.server.cli("status").stdout

    machine.world["devices"][0]["processes"] = [{"pid": os.getpid(), "memory_bytes": 1 << 30}]
    machine.write()
    wait_until("one is in use", lambda: machine.states() == ["available", "in_use"])
    for words in (("status",), ("node", "list")):
        shown = machine.server.cli(*words).stdout
        assert "L4 (in use)" in shown
        assert f"used by process {os.getpid()}" in shown

    machine.world["events"] = [{"device": 1, "type": 8, "data": 31}]
    machine.world["events"] += [{"device": 1, "type": 8, "data": 79}]
    machine.write()
    wait_until(
        "the sick one is cordoned", lambda: machine.states() == ["cordoned", "in_use"],
        CORDON_LIMIT_S,
    )  # fmt: skip
    assert "L4 (cordoned)" in machine.server.cli("node", "list").stdout
    assert "Xid 79: it has fallen off the bus" in machine.server.cli("node", "list").stdout

    machine.world["devices"][0]["processes"] = []
    machine.write()
    wait_until("the other is free", lambda: machine.states() == ["available", "cordoned"])


def test_a_driver_that_fails_is_said_and_the_server_goes_on(machine: Machine) -> None:
    machine.server.cli("down", "--now")
    machine.world["errors"] = {"nvmlInit_v2": 9}
    machine.write()
    machine.server.up()
    shown = machine.server.cli("status").stdout
    assert "GPUs: nvmlInit_v2: Driver Not Loaded (9)" in shown
    assert "1 x H100 (simulated)" in shown
