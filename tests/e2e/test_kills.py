"""Kills lose nothing and double nothing: a few here, two hundred by `make drill NAME=kills`."""

from __future__ import annotations

import os

import pytest
from conftest import running_server
from kills.drill import Drill
from ports import free_port

SEED = int(os.environ.get("SEED", "1"))
KILLS = int(os.environ.get("KILLS", "6"))


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to give containers namespaces")
def test_kills_lose_nothing_and_double_nothing() -> None:
    up = (
        "--listen", f"127.0.0.1:{free_port()}", "--simulate-gpus", "L4:2,H100:1",
        "--webhooks-allow", "127.0.0.0/8",
    )  # fmt: skip
    with running_server(*up) as server:
        drill = Drill(server, up, SEED, KILLS)
        try:
            drill.run()
        finally:
            drill.close()
            print(drill.report())
        assert not drill.findings
