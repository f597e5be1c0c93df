#!/usr/bin/env python3
"""Proves on a real GPU what the other tests prove on a stand-in for its driver; says what it proved.

    .venv/bin/python tests/gpu/devices.py

Its witness is NVIDIA's own nvidia-smi. Where there is no GPU it says so and ends well; the parts
that this machine cannot prove are named as such. Exit status 1: something is not as it should be.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from conftest import EMBERD, Server, wait_until  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
FIELDS = (
    "index", "uuid", "name", "memory.total", "pci.bus_id", "driver_version", "mig.mode.current",
    "temperature.gpu", "power.draw",
)  # fmt: skip
# Readings of two programs, moments apart.
TEMPERATURE_SLACK_C = 5
POWER_SLACK_W = 60

# Holds a CUDA context, so that the driver counts this process among the device's users.
HOLDER = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import cuda
device = cuda.Device()
print("held", flush=True)
sys.stdin.read()
"""
KERNEL_WORDS = 1 << 20
ILLEGAL_ADDRESS = 700  # of CUresult
BASELINE_SLACK_MIB = 16


def proved(what: str) -> None:
    print(f"proved: {what}", flush=True)


def not_proved(what: str, why: object) -> None:
    print(f"not proved: {what}: {why}", flush=True)


def ask_smi(query: str, *fields: str) -> list[dict[str, str]]:
    """The rows of one of nvidia-smi's queries."""
    done = subprocess.run(
        ["nvidia-smi", f"--query-{query}={','.join(fields)}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode != 0:
        return []
    rows = [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines()]
    return [dict(zip(fields, row)) for row in rows if len(row) == len(fields)]


def ask_ember() -> dict[str, Any]:
    done = subprocess.run(
        [EMBERD, "devices", "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def is_close(ours: int | None, theirs: str, slack: float, scale: int = 1) -> bool:
    """Whether two readings agree; nvidia-smi writes [N/A] for what a device has not."""
    with contextlib.suppress(ValueError):
        return ours is not None and abs(ours / scale - float(theirs)) <= slack
    return ours is None


def check_discovery(witness: list[dict[str, str]]) -> list[dict[str, Any]]:
    told = ask_ember()
    devices = told["devices"]
    assert told["troubles"] == [], told["troubles"]
    assert len(devices) == len(witness), f"{len(devices)} devices, {len(witness)} by nvidia-smi"
    for ours, theirs in zip(devices, witness):
        said = f"{ours} where nvidia-smi says {theirs}"
        assert told["driver_version"] == theirs["driver_version"], said
        assert str(ours["index"]) == theirs["index"], said
        assert ours["uuid"] == theirs["uuid"], said
        assert ours["name"] == theirs["name"], said
        assert ours["pci_bus_id"].lower() == theirs["pci.bus_id"].lower(), said
        assert ours["memory_bytes"] // MIB == int(theirs["memory.total"]), said
        assert ours["mig"] == (theirs["mig.mode.current"] == "Enabled"), said
        assert is_close(ours["temperature_celsius"], theirs["temperature.gpu"], TEMPERATURE_SLACK_C)
        assert is_close(ours["power_milliwatts"], theirs["power.draw"], POWER_SLACK_W, 1000), said
        proved(
            f"GPU {ours['index']} is a {ours['type']} ({ours['name']}), "
            f"{ours['memory_bytes'] // MIB} MiB, {ours['uuid']}, at {ours['pci_bus_id']}, "
            f"{ours['temperature_celsius']} C, as nvidia-smi says"
        )
    return devices


def check_minor_numbers(devices: list[dict[str, Any]]) -> None:
    for device in devices:
        node = Path(f"/dev/nvidia{device['minor_number']}")
        if not node.is_char_device():
            not_proved(f"the device node of GPU {device['index']}", f"{node} is not there")
            continue
        # The driver's own directory names the device by a shorter form of its place on the bus.
        place = device["pci_bus_id"].lower()[4:]
        information = Path(f"/proc/driver/nvidia/gpus/{place}/information")
        if not information.exists():
            not_proved(f"the minor number of GPU {device['index']}", f"no {information}")
            continue
        lines = dict(
            line.split(":", 1) for line in information.read_text().splitlines() if ":" in line
        )
        assert int(lines["Device Minor"]) == device["minor_number"], lines
        proved(f"{node} is GPU {device['index']}, as the driver says")


@contextlib.contextmanager
def holding_a_device() -> Iterator[int | None]:
    """A process that computes on the first device; nothing where CUDA does not let it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        held = holder.stdout.readline().strip() == "held"
        yield holder.pid if held else None
    finally:
        holder.kill()
        _, errors = holder.communicate()
        if errors:
            print(errors.strip().splitlines()[-1])


def check_processes() -> None:
    with holding_a_device() as pid:
        if pid is None:
            not_proved("use by a process", "no CUDA context can be made here")
            return
        seen = {process["pid"] for d in ask_ember()["devices"] for process in d["processes"]}
        theirs = {int(row["pid"]) for row in ask_smi("compute-apps", "pid")}
        assert seen == theirs, f"{seen} where nvidia-smi says {theirs}"
        if not seen:
            not_proved("use by a process", "the driver shows no process here")
            return
        proved(f"processes {sorted(seen)} compute here, as nvidia-smi says")
        if pid not in seen:
            not_proved("that our own process is among them", "it has another number outside here")


def real_devices(server: Server) -> list[dict[str, Any]]:
    (node,) = server.http("GET", "/api/v1/nodes").document["nodes"]
    return [device for device in node["devices"] if not device["simulated"]]


def check_fleet(server: Server, devices: list[dict[str, Any]]) -> None:
    fleet = real_devices(server)
    assert sorted(d["type"] for d in fleet) == sorted(d["type"] for d in devices), fleet
    proved(f"they stand in the fleet: {[(d['type'], d['state']) for d in fleet]}")
    in_use = [device["state"] for device in fleet].count("in_use")
    with holding_a_device() as pid:
        if pid is None:
            not_proved("that a device in others' use is not free", "no CUDA context")
            return
        seen = any(device["processes"] for device in ask_ember()["devices"])
        if not seen:
            not_proved("that a device in others' use is not free", "no process is shown")
            return
        wait_until(
            "one more device is in use",
            lambda: [d["state"] for d in real_devices(server)].count("in_use") == in_use + 1,
            15,
        )
        proved("a device that another process uses is not free, and says so")
    wait_until(
        "it is free again",
        lambda: [d["state"] for d in real_devices(server)].count("in_use") == in_use,
        15,
    )
    proved("it is free again when that process has ended")


def check_containers(server: Server) -> None:
    free = [device["type"] for device in real_devices(server) if device["state"] == "available"]
    if not free:
        not_proved("what a container sees", "no device is free")
        return
    for node in ("/dev/nvidiactl", "/dev/nvidia-uvm"):
        if not Path(node).is_char_device():
            not_proved("what a container sees", f"{node} is not there")
            return
    server.cli("deploy", HERE / "app.py", EMBER_TEST_GPU=free[0])
    isolation = server.http("GET", "/api/v1/status").document["isolation"]
    seen = server.result("gpu-devices", "with_gpu")
    assert seen["devices"] == 1, seen
    proved(f"a function with gpu={free[0]!r} sees one device by CUDA ({isolation}): {seen}")
    seen = server.result("gpu-devices", "without_gpu")
    assert seen["devices"] == 0, seen
    proved(f"a function without gpu sees none ({isolation}): {seen}")
    if isolation != "container":
        not_proved("that only granted device nodes reach a container", "no containers here")
        return
    assert seen["nodes"] == [], seen
    proved("no device node reaches a container that was granted no device")


def memory_used_mib() -> list[int]:
    return [int(row["memory.used"]) for row in ask_smi("gpu", "memory.used")]


def check_computing(server: Server, before_mib: list[int]) -> None:
    right = server.result("gpu-devices", "computes", words=KERNEL_WORDS)
    assert right == KERNEL_WORDS, right
    states = [device["state"] for device in real_devices(server)]
    assert "in_use" not in states, states
    proved(
        f"a kernel made {right} of {KERNEL_WORDS} words one greater, and its own container's use"
    )
    proved("of the device does not count as others' use")
    code = server.result("gpu-devices", "faults")
    assert code == ILLEGAL_ADDRESS, code
    xids = re.findall(r"Xid \d+", (server.data / "node.log").read_text())
    told = f"the driver told {sorted(set(xids))}" if xids else "the driver told no Xid"
    states = [device["state"] for device in real_devices(server)]
    assert "cordoned" not in states, states
    assert server.result("gpu-devices", "computes", words=KERNEL_WORDS) == KERNEL_WORDS
    proved(f"a program's illegal access ends its own call ({told}); the device stays in service")
    wait_until("no container is left", lambda: not server.containers("gpu-devices"), 30)
    after_mib = memory_used_mib()
    slack = [abs(after - before) for after, before in zip(after_mib, before_mib)]
    assert max(slack) <= BASELINE_SLACK_MIB, (before_mib, after_mib)
    proved(f"after scale-down the devices' memory is as before: {after_mib} MiB used")


def check_canary(server: Server) -> None:
    """What one container wrote into a device's memory, the next does not find there."""
    written = server.result("gpu-devices", "writes_canary")
    wait_until("the writer has gone", lambda: not server.containers("gpu-devices"), 30)
    seen = server.result("gpu-devices", "finds_canary")
    assert seen["control"] > 0, seen
    assert seen["found"] == 0, seen
    proved(
        f"of a word written over {written >> 20} MiB, the next container finds none in "
        f"{seen['looked'] >> 20} MiB of samples of fresh memory ({seen['not_zero']} bytes not zero)"
    )


def check_bill(server: Server) -> None:
    bill = server.json("cost", "--by", "meter")
    (gpu,) = [row for row in bill["rows"] if row["meter"] == "gpu"]
    assert not gpu["simulated"], gpu
    proved(f"the bill has the devices' time, not as simulated: {gpu}")


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    data = Path(tempfile.mkdtemp(prefix="ember-gpu-"))
    data.chmod(0o755)
    server = Server(data)
    server.simulate_gpus = ""
    for name in ("LD_LIBRARY_PATH", "NVML_STAND_IN_SCRIPT"):
        server.environment.pop(name, None)
        if name in os.environ:
            server.environment[name] = os.environ[name]
    server.up()
    try:
        yield server
    finally:
        server.cli("down", "--now")
        print((data / "node.log").read_text(errors="replace")[-4000:], file=sys.stderr)
        shutil.rmtree(data)


def main() -> int:
    witness = ask_smi("gpu", *FIELDS) if shutil.which("nvidia-smi") else []
    if not witness:
        print("no GPU here")
        return 0
    devices = check_discovery(witness)
    check_minor_numbers(devices)
    check_processes()
    with running_server() as server:
        check_fleet(server, devices)
        before_mib = memory_used_mib()
        check_containers(server)
        if any(device["state"] == "available" for device in real_devices(server)):
            check_computing(server, before_mib)
            check_canary(server)
            check_bill(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
