"""What a container may not do to the machine that it runs on."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import Server

if TYPE_CHECKING:
    from pathlib import Path


def test_standard_input_is_at_its_end_and_no_device_of_the_machine(
    server: Server, basics: str
) -> None:
    before = os.stat("/dev/null")
    assert server.result(basics, "read_input") == ""
    # The time of change tells also of one that changed nothing.
    assert os.stat("/dev/null").st_ctime_ns == before.st_ctime_ns


def test_what_is_mounted_within_usr_reaches_containers(data: Path) -> None:
    """As drivers and toolkits often are, by a mount of their own."""
    server = Server(data)
    mount = 'mount -t tmpfs tmpfs /usr/local/src && echo here > /usr/local/src/word && exec "$@"'
    up = server.command("up", "--listen", "127.0.0.1:0", "--json")
    started = subprocess.run(
        ["unshare", "--mount", "bash", "-c", mount, "with-a-mount", *up],
        env=server.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if started.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {started.stderr}")
    try:
        server.deploy("reads_files.py")
        assert server.result("reads-files", "read", path="/usr/local/src/word") == "here\n"
    finally:
        server.cli("down", "--now")
