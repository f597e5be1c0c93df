"""Containers that take all they can get, each beside a neighbour that must not notice.

Who sent the bomb is told by a typed error what ended it and what to do; the next call goes well,
and nothing is left. Floods of output are in test_logs.py, full disks of the machine's own in
test_full_disk.py, and that there would be no limit without what sets it in tests/escape.
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Answer, Server, running_server, skip_without_own_roots, wait_until
from leftovers import held
from neighbour import Neighbour
from small_image import write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "bombs"
MEMORY_MB = 128  # of the functions whose memory is their limit
KINDS = ("processes", "cgroups", "mounts", "files", "sockets")


OF_AN_IMAGE = """
import ember

app = ember.App("bombs-of-an-image", image=ember.Image.from_registry({base!r}))


@app.function(memory=128, max_containers=1)
def fill(size: int) -> None:
    with open("/bomb", "wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(b"1" * (1 << 20))
"""


@pytest.fixture(scope="module")
def bombed() -> Iterator[Server]:
    with running_server() as server:
        if server.json("status")["isolation"] != "container":
            pytest.skip("containers are not to be had on this machine")
        server.deploy("bombs.py")
        server.result(APP, "neighbour", n=0)
        yield server


def needs(server: Server, limit: str) -> None:
    for line in server.json("status")["missing"]:
        if line.startswith(limit):
            pytest.skip(line)


def explode(server: Server, function: str, kind: str) -> Answer:
    """The bomb's answer; its neighbour and the next call go well, and nothing of it is left."""
    before = held(server.data).of(*KINDS)
    with Neighbour(server, APP):
        answer = server.call(APP, function, kind=kind)
        assert server.call(APP, function, kind="none").status == 200
    for row in server.containers(APP):
        if row["function"] == function:
            server.cli("container", "stop", row["container_id"])
    wait_until(
        "its container has gone",
        lambda: {row["function"] for row in server.containers(APP)} == {"neighbour"},
    )
    wait_until("nothing is left of it", lambda: not held(server.data).of(*KINDS).beyond(before))
    return answer


def is_out_of_memory(answer: Answer) -> None:
    assert (answer.status, answer.code) == (502, "out_of_memory"), answer
    assert f"{MEMORY_MB} MiB" in answer.message, "it names the limit"
    assert "raise memory=" in answer.message, "it says what to do"


def raised(answer: Answer) -> tuple[str, str]:
    """The user's own exception: its type and message."""
    assert (answer.status, answer.code) == (500, "user_exception"), answer
    exception = answer.document["error"]["exception"]
    return exception["type"], exception["message"]


@pytest.mark.parametrize("kind", ["heap", "file in memory", "directories", "names", "pipes"])
def test_memory_however_it_is_taken(bombed: Server, kind: str) -> None:
    needs(bombed, "memory limit")
    is_out_of_memory(explode(bombed, "memory", kind))


def test_memory_of_a_child_ends_the_child(bombed: Server) -> None:
    needs(bombed, "memory limit")
    answer = explode(bombed, "a_child_s_memory", "child")
    assert (answer.status, answer.document) == (200, -9), answer


def test_who_outlived_a_child_is_not_out_of_memory_when_it_is_stopped(bombed: Server) -> None:
    """Its input runs again elsewhere, as any other's, and its log says no such thing."""
    needs(bombed, "memory limit")

    def containers() -> list[dict[str, Any]]:
        rows = bombed.containers(APP)
        return [row for row in rows if row["function"] == "a_child_s_memory"]

    assert bombed.result(APP, "a_child_s_memory", kind="child") == -9
    (there,) = containers()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(bombed.call, APP, "a_child_s_memory", kind="stay where it was")
        wait_until("it runs there", lambda: [row["state"] for row in containers()] == ["busy"])
        bombed.cli("container", "stop", there["container_id"], "--now")
        answer = call.result()
    assert (answer.status, answer.document) == (200, 0), answer
    assert answer.headers["ember-container-id"] != there["container_id"]
    gone = there["container_id"]
    wait_until("it has gone", lambda: gone not in [row["container_id"] for row in containers()])
    assert "out of memory" not in bombed.cli("container", "logs", gone).stdout


@pytest.mark.parametrize(
    ("kind", "exception"), [("threads", "RuntimeError"), ("processes", "BlockingIOError")]
)
def test_processes_and_threads(bombed: Server, kind: str, exception: str) -> None:
    needs(bombed, "process limit")
    name, message = raised(explode(bombed, "processes", kind))
    assert name == exception, message


def test_processes_that_make_others_without_end(bombed: Server) -> None:
    """Which of its limits ends it first is the machine's business."""
    needs(bombed, "process limit")
    answer = explode(bombed, "processes_without_end", "bomb")
    ends = {(504, "timed_out"), (502, "out_of_memory")}
    assert (answer.status, answer.code) in ends, answer


@pytest.mark.parametrize("kind", ["files", "pipes"])
def test_open_files(bombed: Server, kind: str) -> None:
    assert raised(explode(bombed, "descriptors", kind)) == (
        "OSError", "[Errno 24] Too many open files" + (": '/dev/zero'" if kind == "files" else ""),
    )  # fmt: skip


@pytest.mark.parametrize("directory", ["/tmp", "/root", "/dev/shm", "/run"])
def test_a_full_directory(bombed: Server, directory: str) -> None:
    name, message = raised(explode(bombed, "disk", directory))
    assert (name, message) == ("OSError", "[Errno 28] No space left on device"), directory


def test_a_full_root_of_an_image(bombed: Server, data: Path) -> None:
    skip_without_own_roots("skopeo", "umoci")
    file = data / "of_an_image.py"
    file.write_text(OF_AN_IMAGE.format(base=write_image(data / "image", [])))
    bombed.cli("deploy", file)
    with Neighbour(bombed, APP):
        name, message = raised(bombed.call("bombs-of-an-image", "fill", size=10 * MEMORY_MB << 20))
    assert (name, message) == ("OSError", "[Errno 28] No space left on device")
    assert bombed.call("bombs-of-an-image", "fill", size=0).status == 200, "it can be called on"
    bombed.cli("app", "stop", "bombs-of-an-image")
