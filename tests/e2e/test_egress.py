"""What leaves a container is on the bill, where the machine lets it be metered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import wait_until

if TYPE_CHECKING:
    from conftest import Server

SIZE = 500_000


def billed_bytes(server: Server, app: str) -> int:
    rows = server.json("cost", "--app", app, "--by", "meter")["rows"]
    return sum(row["egress_bytes"] for row in rows if row["meter"] == "egress")


@pytest.fixture
def metered(server: Server) -> Server:
    """A server whose containers have networks of their own."""
    for line in server.json("status")["missing"]:
        if line.startswith("egress"):
            pytest.skip(f"this machine does not meter egress: {line}")
    return server


def test_what_a_container_sends_is_on_the_bill_after_scale_to_zero(metered: Server) -> None:
    server = metered
    server.deploy("sends_out.py")
    server.result("sends-out", "send", size=SIZE)
    sent = server.result("sends-out", "send", size=SIZE)
    assert sent >= 2 * SIZE
    wait_until("scaled to zero", lambda: server.containers("sends-out") == [])
    wait_until("it is on the bill", lambda: billed_bytes(server, "sends-out") >= sent)
    assert billed_bytes(server, "sends-out") < 2 * sent
    assert " GB" in server.cli("cost", "--app", "sends-out").stdout


def test_what_sends_nothing_pays_for_nothing(metered: Server) -> None:
    metered.deploy("short_lived.py")
    metered.result("short-lived", "f")
    wait_until("scaled to zero", lambda: metered.containers("short-lived") == [])
    assert billed_bytes(metered, "short-lived") == 0
