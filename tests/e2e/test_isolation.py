"""What a container may not do to the machine that it runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Server


def test_standard_input_is_at_its_end_and_no_device_of_the_machine(
    server: Server, basics: str
) -> None:
    before = os.stat("/dev/null")
    assert server.result(basics, "read_input") == ""
    # The time of change tells also of one that changed nothing.
    assert os.stat("/dev/null").st_ctime_ns == before.st_ctime_ns
