"""The ways that lead to something of the machine's, tried under gVisor: none does there either.

What a kernel of its own answers proves nothing of the machine's by itself, so that ways which end
within it (a namespace, a mount, a system call that it knows) are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import running_server
from test_escape import Container, deployed, given, here, surroundings
from ways import WAYS, Surroundings, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["here", "surroundings"]  # fixtures

TO_THE_MACHINE = {
    "attach_shared_memory",
    "connect_abstract",
    "connect_loopback",
    "connect_path",
    "init_module",
    "leave_by_descriptor",
    "leave_by_root_of_another",
    "leave_by_working_directory",
    "list_directory",
    "make_and_open_disk",
    "open_by_handle",
    "open_device",
    "open_process",
    "overwrite_running_program",
    "packet_socket",
    "read",
    "read_environment",
    "read_memory",
    "reboot",
    "run_setuid_program",
    "signal_process",
    "trace_process",
}


@pytest.fixture(scope="session")
def container() -> Iterator[Container]:
    with running_server() as server:
        if why := server.json("status")["no_gvisor"]:
            pytest.skip(f"no gVisor here: {why}")
        container = deployed(server, isolation="gvisor")
        server.result("escape", "another_container")
        yield container


# What gVisor's own kernel has by these names.
OF_ITS_OWN = {"list-directory-sys", "open-device-dev-fuse", "open-device-dev-net-tun"}
WAYS_THERE = [way for way in WAYS if way.attempt in TO_THE_MACHINE and way.name not in OF_ITS_OWN]


@pytest.mark.parametrize("way", WAYS_THERE, ids=[way.name for way in WAYS_THERE])
def test_it_does_not_lead_out_of_gvisor(
    way: Way, container: Container, surroundings: Surroundings
) -> None:
    outcome = container.attempt(way.attempt, given(way, surroundings))
    assert "broken" not in outcome, outcome["broken"]
    assert not outcome["escaped"], outcome["how"]
