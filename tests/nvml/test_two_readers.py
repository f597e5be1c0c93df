"""Two readers of one library: what `emberd devices` tells is what NVIDIA's own client reads.

Both load the stand-in for the driver's library. If Ember and the stand-in agreed on a wrong binary
interface, `pynvml`, which knows the real one, would read something else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EMBERD = Path(os.environ.get("EMBER_EMBERD", REPOSITORY / "build" / "bin" / "emberd"))
LIBRARIES = REPOSITORY / "build" / "tests" / "nvml"

# In a process of its own: the library is found when a program starts.
READER = """
import json, pynvml as nvml

def maybe(read, *arguments):
    try:
        return read(*arguments)
    except nvml.NVMLError:
        return None

nvml.nvmlInit()
devices = []
for index in range(nvml.nvmlDeviceGetCount()):
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    use = maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
    mig = maybe(nvml.nvmlDeviceGetMigMode, handle)
    devices.append({
        "index": index,
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "name": nvml.nvmlDeviceGetName(handle),
        "pci_bus_id": nvml.nvmlDeviceGetPciInfo(handle).busId,
        "memory_bytes": nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "minor_number": nvml.nvmlDeviceGetMinorNumber(handle),
        "mig": mig is not None and mig[0] == nvml.NVML_DEVICE_MIG_ENABLE,
        "temperature_celsius": maybe(
            nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "power_milliwatts": maybe(nvml.nvmlDeviceGetPowerUsage, handle),
        "utilization_percent": use and use.gpu,
        "processes": [
            {"pid": process.pid, "memory_bytes": process.usedGpuMemory}
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        ],
    })
print(json.dumps({"driver_version": nvml.nvmlSystemGetDriverVersion(), "devices": devices}))
"""

WATCHER = """
import json, pynvml as nvml

nvml.nvmlInit()
events = nvml.nvmlEventSetCreate()
handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
for handle in handles:
    types = nvml.nvmlDeviceGetSupportedEventTypes(handle)
    wanted = nvml.nvmlEventTypeXidCriticalError | nvml.nvmlEventTypeDoubleBitEccError
    nvml.nvmlDeviceRegisterEvents(handle, types & wanted, events)
seen = []
while True:
    try:
        event = nvml.nvmlEventSetWait(events, 20)
    except nvml.NVMLError_Timeout:
        break
    seen.append([nvml.nvmlDeviceGetUUID(event.device), event.eventType, event.eventData])
nvml.nvmlEventSetFree(events)
print(json.dumps(seen))
"""


def card(index: int, name: str, memory_bytes: int, **more: Any) -> dict[str, Any]:
    """One device of the script that the stand-in follows."""
    return {
        "uuid": f"GPU-1f0c2e7a-0000-4000-8000-00000000000{index}",
        "name": name,
        "memory_bytes": memory_bytes,
        "minor": 3 - index,
        "bus": 0x3B + index,
        **more,
    }


WORLD: dict[str, Any] = {
    "driver_version": "550.127.05",
    "devices": [
        card(0, "NVIDIA A100-SXM4-40GB", 42_949_672_960, mig=0, temperature_celsius=33,
             power_milliwatts=51_230, utilization_percent=97,
             processes=[{"pid": 4242, "memory_bytes": 12 << 30}, {"pid": 4243}]),
        card(1, "NVIDIA H100 80GB HBM3", 85_520_809_984, mig=1, temperature_celsius=28),
        card(2, "NVIDIA GeForce GTX 1080 Ti", 11_811_160_064, utilization_percent=0),
    ],
    "events": [{"device": 1, "type": 8, "data": 79}, {"device": 0, "type": 2, "data": 0}],
}  # fmt: skip

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program on the machine that a script describes."""

    def run(world: dict[str, Any], *command: str) -> str:
        script = tmp_path / "world.json"
        script.write_text(json.dumps(world))
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60,
            env={"NVML_STAND_IN_SCRIPT": str(script), "LD_LIBRARY_PATH": str(LIBRARIES),
                 "PATH": os.environ["PATH"]},
        ).stdout  # fmt: skip

    return run


def test_ember_and_nvidias_client_read_the_same(run: Run) -> None:
    ours = json.loads(run(WORLD, str(EMBERD), "devices", "--json"))
    theirs = json.loads(run(WORLD, sys.executable, "-c", READER))
    types = [device.pop("type") for device in ours["devices"]]
    assert ours.pop("troubles") == []
    assert ours == theirs
    assert types == ["A100-40GB", "H100", "GTX-1080-Ti"]
    assert [device["mig"] for device in theirs["devices"]] == [False, True, False]
    assert theirs["devices"][0]["processes"] == [
        {"pid": 4242, "memory_bytes": 12 << 30},
        {"pid": 4243, "memory_bytes": None},
    ]


def test_nvidias_client_is_told_the_scripted_events(run: Run) -> None:
    seen = json.loads(run(WORLD, sys.executable, "-c", WATCHER))
    assert seen == [[WORLD["devices"][1]["uuid"], 8, 79], [WORLD["devices"][0]["uuid"], 2, 0]]


def test_a_device_that_is_lost_hides_no_other(run: Run) -> None:
    world = {**WORLD, "devices": [*WORLD["devices"]]}
    world["devices"][0] = {**world["devices"][0], "errors": {"nvmlDeviceGetUUID": 15}}
    document = json.loads(run(world, str(EMBERD), "devices", "--json"))
    assert [device["index"] for device in document["devices"]] == [1, 2]
    assert document["troubles"] == ["GPU 0: nvmlDeviceGetUUID: GPU is lost (15)"]


def test_a_machine_without_the_library_has_no_devices() -> None:
    shown = subprocess.run([EMBERD, "devices"], capture_output=True, text=True, check=True)
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver")
    assert shown.stdout == "no NVIDIA driver on this machine\n"
    assert shown.stderr == ""
