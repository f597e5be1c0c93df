"""The look for leftovers sees each kind of thing that an Ember may leave: planted ones are found by
name, and those of a server at work are found until it is down."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Server, wait_until
from leftovers import NOTHING, Holdings, held, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = f"no-{os.getpid():010d}tst"
CONTAINER = "ct-0000000000001"
MARK = f"EMBER_CONTAINER={NODE}/{CONTAINER}"
ENTER_NETWORK = "import ctypes\nassert ctypes.CDLL(None).unshare(0x40000000) == 0"
TUNSETIFF, TUNSETPERSIST, IFF_TAP_NO_PI = 0x400454CA, 0x400454CB, 0x1002

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="planting mounts and groups takes root")


@pytest.fixture
def planted(data: Path) -> Path:
    """A data directory of a node that never ran."""
    (data / "node").mkdir()
    (data / "node" / "node_id").write_text(f"{NODE}\n")
    assert held(data) == NOTHING
    return data


@contextlib.contextmanager
def process(*words: str, mark: str = MARK) -> Iterator[subprocess.Popen[bytes]]:
    """A process that bears the mark of a container, once it has said a line; it ends when let go."""
    name, _, value = mark.partition("=")
    started = subprocess.Popen(
        words, env={"PATH": os.environ["PATH"], name: value}, cwd="/",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        started.stdout.readline()
        yield started
    finally:
        started.kill()
        started.communicate()


def script(text: str, **options: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A process that runs some Python, says that it has, and stays."""
    stays = "print(flush=True); sys.stdin.read()"
    return process(sys.executable, "-c", f"import os, socket, sys\n{text}\n{stays}", **options)


def names(left: Holdings, kind: str) -> list[str]:
    return [thing.name for thing in left.of(kind)]


def mount(source: Path | str, target: Path) -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)


def test_a_process_that_bears_the_mark_is_found_with_its_zombie(planted: Path) -> None:
    with script("if os.fork() == 0: os._exit(0)\nos.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)"):
        left = held(planted)
    python = os.path.basename(sys.executable)
    assert sorted(names(left, "processes")) == sorted([python, f"zombie {python}"]), left
    assert settled(planted) == NOTHING


def test_a_process_is_found_by_its_group_alone(planted: Path) -> None:
    group = Path("/sys/fs/cgroup/pids/ember") / NODE / CONTAINER
    group.mkdir(parents=True)
    try:
        with process("sh", "-c", "echo; read line", mark="NO=mark") as it:
            assert it.pid
            (group / "cgroup.procs").write_text(str(it.pid))
            assert names(held(planted), "processes") == ["sh"]
    finally:
        group.rmdir()
        group.parent.rmdir()


def test_a_process_without_a_mark_is_found_by_the_namespace_that_it_shares(planted: Path) -> None:
    with script(ENTER_NETWORK) as first:
        words = ("nsenter", f"--net=/proc/{first.pid}/ns/net", "sh", "-c", "echo; read line")
        with process(*words, mark="NO=mark"):
            left = held(planted)
    assert "sh" in names(left, "processes"), left


def hierarchies() -> list[Path]:
    root = Path("/sys/fs/cgroup")
    return [root] if (root / "cgroup.procs").exists() else sorted(p for p in root.iterdir())


@pytest.mark.parametrize("hierarchy", hierarchies(), ids=lambda path: path.name)
def test_a_cgroup_is_found_in_each_hierarchy(planted: Path, hierarchy: Path) -> None:
    group = hierarchy / "ember" / NODE / CONTAINER
    try:
        group.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no group can be made in {hierarchy}: {error.strerror}")
    found = names(held(planted), "cgroups")
    group.rmdir()
    group.parent.rmdir()
    assert found == [f"{hierarchy.name} ember/{NODE}", f"{hierarchy.name} ember/{NODE}/ct-*"]
    assert held(planted) == NOTHING


def mounts_here(data: Path) -> list[str]:
    """Those of this mount namespace: one that another test makes meanwhile begins with a copy."""
    here = f"mnt:[{os.stat('/proc/self/ns/mnt').st_ino}]"
    return [thing.name for thing in held(data).of("mounts") if here in thing.which]


def test_a_mount_is_found_here_and_in_another_namespace(planted: Path) -> None:
    place = planted / "place"
    place.mkdir()
    mount("/usr/share", place)
    try:
        assert mounts_here(planted)[0].endswith(f" at {place}")
    finally:
        subprocess.run(["umount", place], check=True)
    assert mounts_here(planted) == []
    hidden = f"mount -t tmpfs ember {place} && echo && read line"
    with process("unshare", "--mount", "sh", "-c", hidden, mark="NO=mark"):
        assert f"tmpfs at {place}" in names(held(planted), "mounts")


def test_a_bind_of_its_files_elsewhere_is_found(planted: Path, tmp_path: Path) -> None:
    mount(planted / "node", tmp_path)
    try:
        assert mounts_here(planted)[0].endswith(str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_namespace_is_found_in_use_open_and_bound(planted: Path) -> None:
    home = "home = os.open('/proc/self/ns/net', os.O_RDONLY)"
    leave = "away = os.open('/proc/self/ns/net', os.O_RDONLY)\nctypes.CDLL(None).setns(home, 0)"
    python = os.path.basename(sys.executable)
    with script(ENTER_NETWORK):
        assert names(held(planted), "namespaces") == [f"net of {python}"]
    with script(f"{home}\n{ENTER_NETWORK}\n{leave}"):
        assert names(held(planted), "namespaces") == [f"net open in {python}"]
    bound = planted / "bound"
    bound.touch()
    with script(ENTER_NETWORK, mark="NO=mark") as stranger:
        mount(f"/proc/{stranger.pid}/ns/net", bound)
    try:
        left = held(planted)
        assert names(left, "namespaces") == ["net bound to a path"]
        assert mounts_here(planted) == [f"nsfs at {bound}"]
    finally:
        subprocess.run(["umount", bound], check=True)


def test_sockets_are_found_by_their_holder_and_by_their_name(planted: Path) -> None:
    python = os.path.basename(sys.executable)
    with script("one, other = socket.socketpair()"):
        assert names(held(planted), "sockets") == [f"unnamed of {python}"] * 2
    with script("it = socket.socket(socket.AF_UNIX); it.bind('\\0hidden'); it.listen()"):
        assert names(held(planted), "sockets") == [f"@hidden of {python}"]
    for address in (f"\0ember-{NODE}", str(planted / "a.sock")):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(address)
            (found,) = held(planted).of("sockets")
            assert found.name.endswith("of no process of its Ember")
    assert names(held(planted), "files") == ["socket a.sock"]


def plant_rules(planted: Path) -> str:
    """The file by which a node's interfaces and its table are known; returns the table's name."""
    table = f"ember_{os.getpid() % 0x1000000:08x}"
    (planted / "node" / "networks").mkdir()
    (planted / "node" / "networks" / "firewall.nft").write_text(f"add table inet {table}\n")
    return table


def test_an_interface_is_found(planted: Path) -> None:
    name = f"em{plant_rules(planted).removeprefix('ember_')}-7"
    with open("/dev/net/tun", "r+b", buffering=0) as tap:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_NO_PI))
        fcntl.ioctl(tap, TUNSETPERSIST, 1)
        try:
            assert len(held(planted).of("interfaces")) == 1
            assert name in {thing.which for thing in held().of("interfaces")}
        finally:
            fcntl.ioctl(tap, TUNSETPERSIST, 0)
    assert held(planted) == NOTHING


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed")
def test_a_firewall_table_is_found(planted: Path) -> None:
    table = plant_rules(planted)
    subprocess.run(["nft", "add", "table", "inet", table], check=True)
    try:
        assert names(held(planted), "tables") == ["firewall table"]
        assert table in {thing.which for thing in held().of("tables")}
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
    assert held(planted) == NOTHING


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"node/containers/{CONTAINER}/meta.json", "files"),
        (f"node/containers/{CONTAINER}/exit.json", "ends"),
        (f"node/crun/{CONTAINER}", "files"),
        ("node/node_id.new123", "files"),
        ("serve/tmp/7", "files"),
    ],
)
def test_a_file_is_found(planted: Path, path: str, kind: str) -> None:
    (planted / path).parent.mkdir(parents=True, exist_ok=True)
    (planted / path).touch()
    assert [thing.kind for thing in held(planted)] == [kind]


def test_what_was_there_before_is_not_left_over(planted: Path) -> None:
    with script("") as first:
        before = held(planted)
        with script(""):
            (more,) = held(planted).beyond(before).of("processes")
            assert more.which.split()[0] != str(first.pid)
        first.kill()
        first.wait()
        with script(""):  # another of the same sort in its place
            assert held(planted).beyond(before) == NOTHING


def test_all_that_a_server_at_work_holds_is_found_until_it_gives_it_back(
    own_server: Server,
) -> None:
    server = own_server
    server.deploy("short_lived.py")

    def call_and_scale_to_zero() -> Holdings:
        assert server.result("short-lived", "f") == "done"
        at_work = held(server.data)
        wait_until("scaled to zero", lambda: server.containers("short-lived") == [])
        return at_work

    call_and_scale_to_zero()  # the first makes what the node keeps for all containers
    at_rest = held(server.data)
    counts = call_and_scale_to_zero().beyond(at_rest).counts()
    kinds = ("processes", "cgroups", "mounts", "namespaces", "sockets", "files", "leases")
    assert {kind: counts[kind] for kind in kinds if counts[kind] == 0} == {}, counts
    left = settled(server.data, at_rest)
    assert not left, left
    server.cli("down")
    assert not held(server.data), held(server.data)
