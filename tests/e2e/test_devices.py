"""Real devices in the fleet, as a stand-in for their driver's library tells (tests/nvml)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import EMBERD, Server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = EMBERD.parents[1] / "tests" / "nvml"
CORDON_LIMIT_S = 5.0


# A /dev of their own for `emberd` and its containers, with nodes that are the null device in truth:
# the machine's own stays as it is.
PRIVATE_DEV = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
for node in null zero full random urandom tty net; do
  if [ -e "/dev/$node" ]; then cp -a "/dev/$node" "$1/"; fi
done
mkdir "$1/pts" "$1/shm"
mount --bind /dev/pts "$1/pts"
ln -s pts/ptmx "$1/ptmx"
ln -s /proc/self/fd "$1/fd"
for node in nvidia0 nvidia1 nvidiactl nvidia-uvm nvidia-modeset; do
  mknod -m 666 "$1/$node" c 1 3
done
mount --rbind "$1" /dev
shift
exec "$@"
"""


class Machine:
    """A server on a machine with two L4s, and what the stand-in says of them."""

    def __init__(self, server: Server, script: Path, dev: Path) -> None:
        self.server = server
        self._dev = dev
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

    def up(self) -> None:
        """As `Server.up`, with a /dev that has the devices' nodes."""
        up = self.server.command(
            "up", "--listen", "127.0.0.1:0", "--simulate-gpus", self.server.simulate_gpus, "--json"
        )
        private = ["unshare", "--mount", "bash", "-c", PRIVATE_DEV, "private-dev", str(self._dev)]
        done = subprocess.run(
            [*private, *up], env=self.server.environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        if "mknod" in done.stderr or "unshare" in done.stderr:
            pytest.skip(f"no device nodes can be made here: {done.stderr}")
        assert done.returncode == 0, done.stderr

    def devices(self) -> list[dict[str, Any]]:
        """The real ones."""
        (node,) = self.server.http("GET", "/api/v1/nodes").document["nodes"]
        return [device for device in node["devices"] if not device["simulated"]]

    def states(self) -> list[str]:
        return sorted(device["state"] for device in self.devices())


@pytest.fixture
def machine(data: Path, tmp_path: Path) -> Iterator[Machine]:
    server = Server(data)
    server.simulate_gpus = "H100:1"
    script = data / "world.json"
    server.environment |= {"LD_LIBRARY_PATH": str(LIBRARIES), "NVML_STAND_IN_SCRIPT": str(script)}
    machine = Machine(server, script, tmp_path)
    machine.up()
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


def test_a_container_gets_the_granted_devices_and_no_other(machine: Machine) -> None:
    server = machine.server
    if server.http("GET", "/api/v1/status").document["isolation"] != "container":
        pytest.skip("no containers on this machine")
    server.cli("down", "--now")
    # As an installer lays it out: the library by its version, and a link by the name programs use.
    libraries = server.data / "libraries"
    libraries.mkdir()
    shutil.copy(LIBRARIES / "libnvidia-ml.so.1", libraries / "libnvidia-ml.so.570.86.15")
    (libraries / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.570.86.15")
    server.environment["LD_LIBRARY_PATH"] = str(libraries)
    machine.world["devices"][0]["processes"] = [{"pid": os.getpid()}]
    machine.write()
    machine.up()
    server.deploy("sees_devices.py")
    assert server.result("sees-devices", "with_gpu") == {
        "nodes": ["nvidia-uvm", "nvidia1", "nvidiactl"],
        "opened": ["nvidia-uvm", "nvidia1", "nvidiactl"],
        "library": True,
        "variable": "GPU-5b1c-1",
    }
    assert server.result("sees-devices", "without_gpu") == {
        "nodes": [],
        "opened": [],
        "library": False,
        "variable": "",
    }


def test_a_driver_that_fails_is_said_and_the_server_goes_on(machine: Machine) -> None:
    machine.server.cli("down", "--now")
    machine.world["errors"] = {"nvmlInit_v2": 9}
    machine.write()
    machine.up()
    shown = machine.server.cli("status").stdout
    assert "GPUs: nvmlInit_v2: Driver Not Loaded (9)" in shown
    assert "1 x H100 (simulated)" in shown
