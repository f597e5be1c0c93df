"""Kills lose nothing and double nothing: a few here, fifty by `make drill NAME=kills`."""

from __future__ import annotations

import os
import socket

import pytest
from conftest import running_server
from kills.drill import Drill

SEED = int(os.environ.get("SEED", "1"))
KILLS = int(os.environ.get("KILLS", "6"))


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to give containers namespaces")
def test_kills_lose_nothing_and_double_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    up = ("--listen", f"127.0.0.1:{port}", "--simulate-gpus", "L4:2,H100:1")
    with running_server(*up) as server:
        drill = Drill(server, up, SEED, KILLS)
        try:
            drill.run()
        finally:
            print(drill.report())
        assert not drill.findings
