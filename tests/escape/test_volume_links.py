"""What a volume brings is never followed out of it, not even while it changes.

CVE-2024-0132 and its kin: who looks at a path and finds a directory opens what is there by then,
where somebody has put a link.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Server, running_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

VOLUMES = '''
import contextlib
import ctypes
import os
import threading

import ember

app = ember.App("links")
shelf = ember.Volume.from_name("links", create_if_missing=True)
_exchange = ctypes.CDLL(None).renameat2
_BOTH = 2


@app.function(volumes={"/srv/shelf": shelf})
def commit_while_it_changes(target: str, commits: int) -> int:
    """A directory with a file, and a link to another such, each in the other's place by turns."""
    one, two = "/srv/shelf/one", "/srv/shelf/two"
    os.mkdir(one)
    os.symlink(target, two)
    end = threading.Event()

    def exchange() -> None:
        while not end.is_set():
            _exchange(-100, one.encode(), -100, two.encode(), _BOTH)

    thread = threading.Thread(target=exchange)
    thread.start()
    committed = 0
    for i in range(commits):
        # Whichever name is the directory's now; it may be the other's when this one is used.
        with contextlib.suppress(OSError):
            with open(f"{two if os.path.islink(one) else one}/marker", "w") as file:
                file.write(str(i))
        # It may find that what it was about to read has gone.
        with contextlib.suppress(ember.exception.EmberError):
            shelf.commit()
            committed += 1
    end.set()
    thread.join()
    return committed


@app.function(volumes={"/srv/shelf": shelf})
def leave_a_link(target: str) -> None:
    os.symlink(target, "/srv/shelf/away")
    shelf.commit()


part = ember.Volume.from_name("links", create_if_missing=True).with_mount_options(sub_path="away")


@app.function(volumes={"/srv/part": part})
def look_in_part() -> list[str]:
    return os.listdir("/srv/part")
'''


@pytest.fixture
def outside(data: Path) -> Path:
    """A directory of the machine's with a file that everybody may read and nobody else has."""
    path = data / "outside"
    path.mkdir()
    (path / "marker").write_text(f"secret {uuid.uuid4()}")
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server() as server:
        if server.json("status")["isolation"] != "container":
            pytest.skip("containers are not to be had on this machine")
        file = tmp_path_factory.mktemp("app") / "links.py"
        file.write_text(VOLUMES)
        server.cli("deploy", file)
        yield server


def files_with(text: str, directory: Path) -> list[str]:
    words = ["grep", "--recursive", "--no-messages", "--fixed-strings", "--devices=skip"]
    words += ["--files-with-matches", "--regexp", text, "--", str(directory)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def test_a_commit_takes_nothing_from_outside_while_a_link_comes_and_goes(
    volumes: Server, outside: Path
) -> None:
    committed = volumes.result("links", "commit_while_it_changes", target=str(outside), commits=30)
    assert committed > 0
    secret = (outside / "marker").read_text()
    assert files_with(secret, outside) == [str(outside / "marker")]
    assert files_with(secret, volumes.data) == []


def test_who_looks_first_and_then_opens_is_led_out(data: Path, outside: Path) -> None:
    """The same race against a reader that takes no care."""
    one, two = data / "one", data / "two"
    one.mkdir()
    (one / "marker").write_text("mine")
    two.symlink_to(outside)
    end = threading.Event()

    def exchange() -> None:
        both, here = 2, -100
        while not end.is_set():
            ctypes.CDLL(None).renameat2(here, bytes(one), here, bytes(two), both)

    def is_led_out() -> bool:
        if one.is_symlink():
            return False
        return (one / "marker").read_text() != "mine"

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        wait_until("it is led out", lambda: any(is_led_out() for _ in range(1000)))
    finally:
        end.set()
        thread.join()


def test_a_link_in_a_volume_is_no_part_of_it_to_mount(volumes: Server, outside: Path) -> None:
    volumes.result("links", "leave_a_link", target=str(outside))
    answer = volumes.call("links", "look_in_part")
    assert answer.status != 200, answer
    assert "marker" not in str(answer.document)
