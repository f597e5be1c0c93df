"""Functions under a kernel of their own (isolation="gvisor"): all that others can, and more walls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, Server, kill, running_server, wait_until
from test_egress import billed_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def walled() -> Iterator[Server]:
    """A server with the app of `walled.py`, where gVisor is to be had."""
    with running_server() as server:
        if why := server.json("status")["no_gvisor"]:
            pytest.skip(f"no gVisor here: {why}")
        server.cli("deploy", APPS / "walled.py", VOLUME="walled")
        yield server


def container_of(server: Server, function: str) -> str:
    rows = [row for row in server.containers("walled") if row["function"] == function]
    container: str = rows[0]["container_id"]
    return container


def test_its_kernel_is_not_the_machines(walled: Server) -> None:
    kernel = walled.result("walled", "kernel")
    assert kernel["version"] != Path("/proc/version").read_text()
    assert "gVisor" in kernel["log"]
    lines = walled.cli("status").stdout.splitlines()
    assert ["gvisor", "yes"] in [line.split() for line in lines]


def test_an_image_a_volume_and_a_secret_are_there_and_what_is_written_is_kept(
    walled: Server, tmp_path: Path
) -> None:
    built, owner, secret, version = walled.result("walled", "keep", text="kept by gVisor")
    assert built == "built\n"
    assert owner == 0
    assert secret == "of the secret"
    assert version >= 1
    walled.cli("volume", "get", "walled", "kept", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "kept by gVisor"


def test_a_volume_is_not_reloaded_in_place_and_says_so(walled: Server) -> None:
    assert "gVisor" in walled.result("walled", "reload")


def test_this_machine_and_private_networks_are_out_of_reach(
    walled: Server, service: tuple[str, int]
) -> None:
    for host, port in (service, (METADATA, 80), ("10.1.2.3", 80), ("192.168.0.1", 80)):
        assert walled.result("walled", "reach", host=host, port=port) == "timed out", host
    told = walled.result("walled", "reach_from_nowhere", host=service[0], port=service[1])
    assert "unreachable" in told or "No route" in told


def test_what_it_sends_is_on_the_bill(walled: Server) -> None:
    sent = walled.result("walled", "send", size=300_000)
    assert sent >= 300_000
    wait_until("it is on the bill", lambda: billed_bytes(walled, "walled") >= sent)


def test_its_memory_and_its_processes_are_limited(walled: Server) -> None:
    assert walled.result("walled", "start_threads", count=3000) < 1100
    answer = walled.call("walled", "eat", mebibytes=2000)
    assert (answer.status, answer.code) == (502, "out_of_memory"), answer
    assert walled.result("walled", "eat", mebibytes=16) == 16 << 20


def test_a_command_runs_in_it(walled: Server) -> None:
    walled.result("walled", "kernel")
    container = container_of(walled, "kernel")
    done = walled.cli("container", "exec", container, "--", "sh", "-c", "dmesg; exit 3", status=3)
    assert "gVisor" in done.stdout
    for look in ("top", "stack"):
        refused = walled.cli("container", look, container, status=5)
        assert "gVisor" in refused.stderr


def test_it_outlives_its_node_and_is_adopted(walled: Server) -> None:
    walled.result("walled", "kernel")
    before = container_of(walled, "kernel")
    kill(walled, "node")
    walled.up()
    wait_until("a node has joined", lambda: walled.json("node", "list")["nodes"])
    answer = walled.call("walled", "kernel")
    assert answer.status == 200, answer
    assert answer.headers["ember-container-id"] == before


def test_gpus_are_refused_at_the_deploy(walled: Server, tmp_path: Path) -> None:
    script = tmp_path / "wants_gpu.py"
    script.write_text(
        'import ember\n\napp = ember.App("wants-gpu")\n\n\n'
        '@app.function(isolation="gvisor", gpu="L4")\ndef f() -> None:\n    pass\n'
    )
    refused = walled.cli("deploy", script, status=2)
    assert 'a GPU with isolation="gvisor"' in refused.stderr


def test_where_runsc_is_not_a_deploy_says_what_to_install(data: Path, tmp_path: Path) -> None:
    """By a PATH that leads to every program but that one."""
    directories = [Path(one) for one in ("/usr/sbin", "/usr/bin", "/sbin", "/bin")]
    for directory in directories:
        for program in directory.iterdir():
            link = tmp_path / program.name
            if program.name != "runsc" and not link.is_symlink():
                link.symlink_to(program)
    server = Server(data)
    server.environment["PATH"] = str(tmp_path)
    server.up()
    try:
        if server.json("status")["isolation"] != "container":
            pytest.skip("no containers on this machine")
        assert "apt-get install runsc" in server.cli("status").stdout
        refused = server.cli("deploy", APPS / "walled.py", status=2, VOLUME="walled")
        assert "apt-get install runsc" in refused.stderr
    finally:
        server.cli("down", "--now")
