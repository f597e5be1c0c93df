#!/usr/bin/env python3
"""Proves shares and leases on a real GPU; says what it proved.

    .venv/bin/python tests/gpu/shares.py

Two containers compute on one device side by side; one that allocates more than its share is ended
and named, and the other is unharmed; a person's lease keeps functions off the device. Where there
is no GPU it says so and ends well. Exit status 1: something is not as it should be.
"""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from conftest import wait_until  # noqa: E402
from devices import ask_smi, holding_a_device, not_proved, proved, real_devices, running_server  # noqa: E402

if TYPE_CHECKING:
    from conftest import Server

GB = 10**9
MODEST_PERCENT = 50  # of its share; a context takes some of the rest
GREEDY_PERCENT = 150
HOLD_S = 20.0  # some looks of the node's, which come every two seconds
CONTEXT_BYTES = 2 * GB  # more than a context takes


class Caller(threading.Thread):
    """A call under way."""

    def __init__(self, server: Server, percent: int) -> None:
        super().__init__()
        self._server = server
        self._percent = percent
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        """Make the call."""
        self.answer = self._server.call(
            "gpu-shares", "holds", part_percent=self._percent, for_s=HOLD_S
        )


def device_of(server: Server, device_id: str) -> dict[str, Any]:
    return next(d for d in real_devices(server) if d["device_id"] == device_id)


def holders(server: Server, device_id: str) -> list[str]:
    return [one["container_id"] for one in device_of(server, device_id)["containers"]]


def wait_for_none(server: Server) -> None:
    wait_until("no container is left", lambda: not server.containers("gpu-shares"), 60)


def check_side_by_side(server: Server, device_id: str, share: int) -> None:
    callers = [Caller(server, MODEST_PERCENT), Caller(server, MODEST_PERCENT)]
    wait_until("two share the device", lambda: len(holders(server, device_id)) == 2)
    state = device_of(server, device_id)
    assert state["vram_bytes_shared"] == 2 * share, state
    used_mib = [row["used_memory"] for row in ask_smi("compute-apps", "pid", "used_memory")]
    for caller in callers:
        caller.join()
        assert caller.answer.status == 200, caller.answer
        said = caller.answer.document
        assert said["right"] == said["words"], said
        assert said["limit"] == share, said
    proved(f"two containers computed on one device at once, each in {share // GB} GB of it")
    proved(f"nvidia-smi saw meanwhile {used_mib} MiB in use, by process")
    assert device_of(server, device_id)["state"] == "available", device_of(server, device_id)
    proved("neither counted as others' use of the device")


def check_offender(server: Server, device_id: str) -> None:
    wait_for_none(server)
    modest = Caller(server, MODEST_PERCENT)
    wait_until("the modest one runs", lambda: len(holders(server, device_id)) == 1)
    greedy = Caller(server, GREEDY_PERCENT)
    modest.join()
    greedy.join()
    missing = server.http("GET", "/api/v1/status").document["missing"]
    unwatched = [line for line in missing if "shares of GPUs are not watched" in line]
    if unwatched:
        not_proved("that who takes more than its share is ended", unwatched[0])
        return
    assert greedy.answer.code == "out_of_memory", greedy.answer
    assert "share of a GPU" in greedy.answer.message, greedy.answer
    proved(f"who took more was ended and named: {greedy.answer.message.splitlines()[0]}")
    assert modest.answer.status == 200, modest.answer
    proved("the one beside it finished its call")


def check_lease(server: Server, device: dict[str, Any]) -> None:
    wait_for_none(server)
    lease = server.json("lease", "gpu", device["type"], "--for", "1h")
    (leased,) = lease["devices"]
    uuids = {row["uuid"] for row in ask_smi("gpu", "uuid")}
    assert leased["uuid"] in uuids, (lease, uuids)
    assert device_of(server, leased["device_id"])["state"] == "leased"
    proved(f"{leased['uuid']} is leased, by the name that nvidia-smi has for it")
    with holding_a_device() as pid:
        assert device_of(server, leased["device_id"])["state"] == "leased"
        server.cli("lease", "end", lease["lease_id"])
        if pid is None or not ask_smi("compute-apps", "pid"):
            not_proved("that a device in use when its lease ends stays out", "no process is shown")
        else:
            wait_until(
                "it is in use",
                lambda: device_of(server, leased["device_id"])["state"] == "in_use",
                15,
            )
            proved(
                "in use by the person's program when its lease ended, it stayed out of the fleet"
            )
    wait_until(
        "it is back", lambda: device_of(server, leased["device_id"])["state"] == "available", 15
    )
    proved("it is back in the fleet when that program had ended")


def check_bill(server: Server, share: int, device_bytes: int) -> None:
    wait_for_none(server)
    rows = server.json("cost", "--by", "app,meter")["rows"]
    of_shares = {row["meter"]: row for row in rows if row["app"] == "gpu-shares"}
    held_ms = of_shares["cpu"]["cpu_millicore_ms"] / 125
    part = of_shares["gpu"]["gpu_ms"] / held_ms
    assert abs(part - share / device_bytes) < 0.001, (of_shares, share, device_bytes)
    proved(f"the shares are billed as {part:.4f} of the device")
    assert any(row["app"] == "(leases)" and row["gpu_ms"] > 0 for row in rows), rows
    proved("the lease is on the bill")
    server.cli("doctor", "--state")
    proved("the ledger tiles the lives of containers and leases")


def main() -> int:
    if not shutil.which("nvidia-smi") or not ask_smi("gpu", "uuid"):
        print("no GPU here")
        return 0
    with running_server() as server:
        free = [device for device in real_devices(server) if device["state"] == "available"]
        if len(free) != 1:
            not_proved("shares and leases", f"it takes one free device, and {len(free)} are")
            return 0
        (device,) = free
        share = (device["vram_bytes"] // 3 // GB) * GB
        if share < CONTEXT_BYTES:
            not_proved("shares", f"{device['type']} has too little memory for three")
            return 0
        server.cli(
            "deploy", HERE / "shares_app.py",
            EMBER_TEST_GPU=device["type"], EMBER_TEST_SHARE=f"{share // GB}GB",
        )  # fmt: skip
        check_side_by_side(server, device["device_id"], share)
        check_offender(server, device["device_id"])
        check_lease(server, device)
        check_bill(server, share, device["vram_bytes"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
