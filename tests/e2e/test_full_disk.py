"""Disks that are really full: each part of the data directory on a small filesystem of its own.

What needs the disk is refused cleanly and whole, all else goes on, and Ember goes on by itself once
there is room. Afterwards the store and the ledger are as they should be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, Server, processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVE_UID = 61777  # as which serve goes on when root started it
MIB = 1 << 20
FULL = "no space is left on its disk"

TYPED = """
import ember
from ember import _client
from ember.exception import StorageFailedError, UnavailableError
try:
    _client.shared().post_json("/api/v1/apps/{app}/stop")
except StorageFailedError as error:
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s and error.retry_after_s >= 1
    print(error)
"""


class Disk:
    """A filesystem of a few megabytes at one directory of the data directory."""

    def __init__(self, place: Path, size: int, uid: int) -> None:
        self.place = place
        self._ballast = place / ".ballast"
        place.mkdir(parents=True, exist_ok=True)
        options = f"size={size},mode=0711,uid={uid},gid={uid}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "ember-test", str(place)],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"this machine lets no filesystem be mounted: {done.stderr.strip()}")

    def fill(self, leave: int = 0) -> None:
        """Takes all room there is, but for some bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            for step in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(step))
            if leave:
                file.truncate(max(0, file.tell() - leave))

    def free(self) -> float:
        """Gives the room back; when that was."""
        self._ballast.unlink(missing_ok=True)
        return time.monotonic()

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)


@contextlib.contextmanager
def server_with_disk(
    data: Path, part: str, size: int, **environment: str
) -> Iterator[tuple[Server, Disk]]:
    """A server with a disk of its own at that part; ends both and sees that nothing is left."""
    if os.geteuid() != 0:
        pytest.skip("mounting a filesystem takes root")
    disk = Disk(data / part, size, SERVE_UID if part.startswith("serve") else 0)
    try:
        server = Server(data)
        server.environment |= environment
        server.up()
        try:
            yield server, disk
        finally:
            disk.free()
            server.cli("down", "--now")
            print((data / "serve.log").read_text()[-4000:], (data / "node.log").read_text()[-4000:])
            assert processes_of(data) == []
    finally:
        disk.unmount()


def is_failing(server: Server) -> bool:
    return any("usage waits" in line for line in server.json("status")["missing"])


def findings(server: Server) -> list[dict[str, Any]]:
    return json.loads(server.cli("doctor", "--state", "--json").stdout)["findings"]


def test_a_full_disk_for_state_refuses_changes_and_loses_no_usage(data: Path) -> None:
    with server_with_disk(data, "serve", 24 * MIB) as (server, disk):
        server.deploy("versions.py")
        server.deploy("short_lived.py")
        seen = set[str]()  # all containers that there were

        def run(app: str, function: str, **arguments: object) -> str:
            answer = server.call(app, function, **arguments)
            assert answer.status == 200, answer
            seen.add(answer.headers["ember-container-id"])
            return answer.headers["ember-container-id"]

        warm = run("versions", "version")
        disk.fill()

        # A deploy is refused whole, with what is full and what to do.
        refused = server.cli("deploy", APPS / "basics.py", status=5).stderr
        assert FULL in refused and str(disk.place) in refused
        answer = server.http("PUT", "/api/v1/blobs/" + "0" * 64, b"x")
        assert answer.status == 400  # what is wrong in itself is still told so
        text = b"print()\n" * 4096
        answer = server.http("PUT", f"/api/v1/blobs/{hashlib.sha256(text).hexdigest()}", text)
        assert (answer.status, answer.code) == (507, "storage_failed")
        assert int(answer.headers["retry-after"]) >= 1

        # Usage waits. The log of the database may have had some room left: until it has none.
        def usage_waits() -> bool:
            run("short-lived", "f")
            wait_until("its container goes", lambda: not server.containers("short-lived"))
            return is_failing(server)

        wait_until("usage cannot be recorded", usage_waits, timeout_s=120)
        typed = subprocess.run(
            [sys.executable, "-c", TYPED.replace("{app}", "short-lived")],
            env=server.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert FULL in typed.stdout
        assert [app["state"] for app in server.json("app", "list")["apps"]] == ["deployed"] * 2

        # What is warm goes on, and what is cold too.
        for _ in range(20):
            assert run("versions", "version") == warm
        run("short-lived", "f")

        freed = disk.free()
        wait_until("usage is recorded again", lambda: not is_failing(server))
        print(f"recorded again {time.monotonic() - freed:.1f} s after there was room")
        server.deploy("basics.py")
        run("basics", "add", a=1)
        assert os.listdir(disk.place / "tmp") == []
        history = server.json("app", "history", "basics")["versions"]
        assert [version["version"] for version in history] == [1]
        for app in ("versions", "basics", "short-lived"):
            server.cli("app", "stop", app)
        wait_until(
            "all containers have gone", lambda: not server.json("container", "list")["containers"]
        )
        lives = f"the lives of {len(seen)} containers"
        wait_until("all is on the bill", lambda: lives in findings(server)[-1]["text"])


def test_a_server_on_a_full_disk_says_so_and_starts_when_there_is_room(data: Path) -> None:
    with server_with_disk(data, "serve", 24 * MIB) as (server, disk):
        server.deploy("versions.py")
        server.cli("down")
        disk.fill()
        refused = server.cli("up", "--listen", "127.0.0.1:0", status=5).stderr
        assert FULL in refused and str(disk.place) in refused
        assert "Traceback" not in refused
        disk.free()
        server.up()
        assert server.result("versions", "version") == 1


def test_a_full_disk_for_logs_costs_lines_that_are_counted_and_nothing_else(data: Path) -> None:
    with server_with_disk(data, "serve/logs", 4 * MIB) as (server, disk):
        server.deploy("writes_lines.py")
        assert server.result("writes-lines", "write", lines=10, text="before") == 10
        disk.fill()
        assert server.result("writes-lines", "write", lines=2000, text="x" * 200) == 2000

        def dropped() -> bool:
            return any("log lines" in line for line in server.json("status")["missing"])

        wait_until("the dropped lines are told of", dropped)
        assert "before 9" in server.cli("logs", "writes-lines", "--last", "10000").stdout
        server.deploy("versions.py")  # the state has room
        disk.free()
        server.result("writes-lines", "write", lines=5, text="after")
        files = list(disk.place.rglob("*.log"))
        wait_until(
            "lines are written again", lambda: any("after 4" in f.read_text() for f in files)
        )
        for file in files:
            for line in file.read_text().splitlines():
                json.loads(line)  # no line was torn
        wait_until("its container goes", lambda: not server.containers("writes-lines"))
        assert [one for one in findings(server) if one["verdict"] != "ok"] == []


def make_wheel(directory: Path, size: int) -> None:
    """A package whose one module does not compress."""
    directory.mkdir()
    directory.chmod(0o755)
    info = "emberbulk-1.0.dist-info"
    path = directory / "emberbulk-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("emberbulk.py", f"DATA = {os.urandom(size)!r}\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: emberbulk\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(
            f"{info}/RECORD",
            f"emberbulk.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        )
    path.chmod(0o644)


def layers_of(data: Path) -> list[str]:
    return [name for name in os.listdir(data / "node" / "layers") if name.startswith("la-")]


def test_a_full_disk_for_images_fails_the_build_and_leaves_no_half_layer(data: Path) -> None:
    wheels = data / "wheels"
    make_wheel(wheels, 2 * MIB)
    with server_with_disk(
        data, "node/layers", 64 * MIB, UV_OFFLINE="1", UV_FIND_LINKS=str(wheels)
    ) as (server, disk):  # fmt: skip
        server.deploy("versions.py")
        for leave in (0, MIB):
            disk.fill(leave)
            refused = server.cli("deploy", APPS / "bulky_image.py", status=5).stderr
            assert FULL in refused and "step 1 (uv_pip_install" in refused
            assert str(data / "node") in refused
            assert layers_of(data) == []
            disk.free()
        assert "bulky" not in [app["name"] for app in server.json("app", "list")["apps"]]
        assert server.result("versions", "version") == 1
        server.deploy("bulky_image.py")
        assert server.result("bulky", "size") == 2 * MIB


def test_a_node_whose_disk_is_full_starts_containers_once_there_is_room(data: Path) -> None:
    with server_with_disk(data, "node", 64 * MIB) as (server, disk):
        server.deploy("versions.py")
        server.deploy("short_lived.py")
        server.result("versions", "version")
        disk.fill()
        assert server.result("versions", "version") == 1
        with server.start("call", "short-lived.f") as process:

            def reason() -> str:
                calls = server.json("call", "list", "--app", "short-lived")["calls"]
                return server.json("call", "show", calls[0]["call_id"])["reason"] if calls else ""

            wait_until("the call's reason names the disk", lambda: FULL in reason())
            # Refused again and again, so that the node is asked less and less often.
            wait_until(
                "several refusals",
                lambda: (data / "serve.log").read_text().count("was not started") >= 4,
            )
            freed = disk.free()
            assert process.wait(timeout=60) == 0
            print(f"started {time.monotonic() - freed:.1f} s after there was room")
        assert server.result("versions", "version") == 1
        for app in ("versions", "short-lived"):
            server.cli("app", "stop", app)
        wait_until(
            "all containers have gone", lambda: not server.json("container", "list")["containers"]
        )
        wait_until("all is on the bill", lambda: "lives" in findings(server)[-1]["text"])
