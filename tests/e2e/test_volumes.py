"""Volumes: files go in and out whole, containers see versions and make new ones, and nothing that a
name, a path or a crash can do hurts what is there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, Server, kill, running_server, wait_until
from test_full_disk import FULL, MIB, server_with_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 8 * MIB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own: volumes are its whole state."""
    with running_server() as running:
        yield running


@pytest.fixture
def shelf(server: Server, app_name: str) -> Iterator[str]:
    """A new volume."""
    server.cli("volume", "create", app_name)
    yield app_name
    server.http("POST", f"/api/v1/volumes/{app_name}/delete")


def deploy(server: Server, volume: str, script: str = "keeps_files.py") -> str:
    """An app of its own on the volume; its name."""
    server.cli("deploy", APPS / script, VOLUME=volume, VOLUME_APP=volume)
    return volume


@pytest.fixture
def app(server: Server, shelf: str) -> Iterator[str]:
    """The app of `keeps_files.py` on a new volume."""
    if os.geteuid() != 0:
        pytest.skip("volumes take containers, which take root")
    yield deploy(server, shelf)
    server.cli("app", "stop", shelf)
    wait_until("its containers go", lambda: not server.containers(shelf))


def make_tree(root: Path) -> None:
    (root / "models" / "small").mkdir(parents=True)
    (root / "models" / "empty").mkdir()
    (root / "readme").write_text("what is here\n")
    (root / "none").write_bytes(b"")
    (root / "models" / "small" / "weights").write_bytes(os.urandom(3 * CHUNK + 12345))
    (root / "models" / "small" / "whole").write_bytes(os.urandom(2 * CHUNK))
    (root / "models" / "name with ünicode").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "run.sh").chmod(0o755)
    (root / "latest").symlink_to("models/small")


def digests(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "directory"
        else:
            program = bool(path.stat().st_mode & 0o100)
            found[name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {program}"
    return found


def paths(server: Server, volume: str) -> list[str]:
    return [entry["path"] for entry in server.json("volume", "ls", volume, "-r")["entries"]]


def text_of(server: Server, volume: str, path: str) -> str:
    return server.cli("volume", "get", volume, path, "-").stdout


def versions(server: Server, volume: str) -> list[int]:
    return [one["version"] for one in server.json("volume", "history", volume)["versions"]]


# --- in and out -------------------------------------------------------------------------------


def test_what_is_put_is_got_and_is_put_only_once(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    make_tree(source)
    first = server.json("volume", "put", shelf, source)
    assert (first["version"], first["changed"]) == (1, True)
    again = server.json("volume", "put", shelf, source)
    assert again == {**first, "changed": False, "bytes_sent": 0}
    server.cli("volume", "get", shelf, "/", tmp_path / "got")
    assert digests(tmp_path / "got") == digests(source)
    (source / "readme").write_text("changed\n")
    more = server.json("volume", "put", shelf, source)
    assert (more["version"], more["bytes_sent"]) == (2, len("changed\n"))
    server.cli("volume", "get", shelf, "/", tmp_path / "old", "--version", "1")
    assert (tmp_path / "old" / "readme").read_text() == "what is here\n"


def test_bytes_are_on_the_disk_once_whoever_has_them(server: Server, tmp_path: Path) -> None:
    data = os.urandom(4 * MIB)
    (tmp_path / "a").write_bytes(data)
    for name in ("once", "twice"):
        server.cli("volume", "create", name)
        server.cli("volume", "put", name, tmp_path / "a", "/x/")
    server.cli("volume", "cp", "once", "x/a", "b")
    root = server.data / "serve" / "volumes"
    inodes = {
        path.stat().st_ino
        for path in root.rglob("*")
        if path.is_file() and path.stat().st_size == len(data)
    }
    assert len(inodes) == 1
    links = [path.stat().st_nlink for path in root.rglob("a") if path.is_file()]
    assert links == [4, 4]  # and b, and the blob


def test_files_are_copied_moved_and_removed_as_cp_mv_and_rm_do(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    for name in ("a", "d/b", "d/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    server.cli("volume", "put", shelf, tmp_path)
    server.cli("volume", "cp", shelf, "d", "e")
    server.cli("volume", "cp", shelf, "a", "d", "e")  # into e
    assert paths(server, shelf) == [
        "a", "d", "d/b", "d/c", "e", "e/a", "e/b", "e/c", "e/d", "e/d/b", "e/d/c"
    ]  # fmt: skip
    server.cli("volume", "mv", shelf, "e/d", "f")
    server.cli("volume", "mv", shelf, "a", "f/")
    assert "is a directory" in server.cli("volume", "rm", shelf, "e", status=2).stderr
    server.cli("volume", "rm", shelf, "-r", "e")
    assert paths(server, shelf) == ["d", "d/b", "d/c", "f", "f/a", "f/b", "f/c"]
    assert text_of(server, shelf, "f/a") == "a"
    server.cli("volume", "rollback", shelf, "1")
    assert paths(server, shelf) == ["a", "d", "d/b", "d/c"]
    history = server.json("volume", "history", shelf)["versions"]
    assert [one["message"] for one in history] == [
        "put", "cp", "cp", "mv", "mv", "rm", "rollback to 1"
    ]  # fmt: skip
    assert history[-1]["current"]
    assert (history[-1]["files"], history[-1]["bytes"]) == (3, 7)
    assert "no version 99" in server.cli("volume", "rollback", shelf, "99", status=2).stderr


def test_many_changes_leave_a_tree_that_is_whole_and_not_deep(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    expected = {}
    for number in range(45):
        name = f"d{number % 7}/f{number % 11}"
        (tmp_path / "one").write_text(str(number))
        if number % 9 == 8:
            gone = f"d{(number - 3) % 7}"
            server.http(
                "POST", f"/api/v1/volumes/{shelf}/commit",
                json.dumps({"remove": gone, "recursive": True}).encode(),
            )  # fmt: skip
            expected = {p: text for p, text in expected.items() if not p.startswith(gone + "/")}
        server.cli("volume", "put", shelf, tmp_path / "one", name)
        expected[name] = str(number)
    entries = server.json("volume", "ls", shelf, "-r")["entries"]
    files = {e["path"]: text_of(server, shelf, e["path"]) for e in entries if e["type"] == "file"}
    assert files == expected
    show = server.http("GET", f"/api/v1/volumes/{shelf}").document
    assert (show["files"], show["bytes"]) == (len(expected), sum(map(len, expected.values())))

    def layers() -> int:
        import sqlite3

        with contextlib.closing(sqlite3.connect(server.data / "serve" / "state.db")) as state:
            (names,) = state.execute(
                "SELECT layers FROM volume_versions v JOIN volumes o ON o.id = v.volume "
                "WHERE o.name = ? ORDER BY version DESC LIMIT 1", (shelf,),
            ).fetchone()  # fmt: skip
        return len(names.split())

    wait_until("its layers are merged", lambda: layers() <= 16)
    assert len(versions(server, shelf)) == show["version"]


UPLOAD = """
import sys
import ember
with ember.Volume.ephemeral() as volume:
    with volume.batch_upload() as batch:
        batch.put_file(sys.argv[1], "/a/b")
        batch.put_directory(sys.argv[2], "/tree")
    print(sorted(entry.path for entry in volume.iterdir("/", recursive=True)))
    print(b"".join(volume.read_file("a/b")))
    volume.copy_files(["a/b"], "c")
    volume.rename("c", "d")
    volume.remove_file("a", recursive=True)
    print([entry.path for entry in volume.listdir()], volume.name)
"""


def test_the_sdk_puts_lists_reads_and_changes_an_ephemeral_volume(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x").write_text("x")
    (tmp_path / "one").write_bytes(b"one")
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, tmp_path / "one", tmp_path / "tree"],
        env=server.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed, read, left = done.stdout.splitlines()
    assert listed == "['a', 'a/b', 'tree', 'tree/x']"
    assert read == "b'one'"
    assert left.startswith("['d', 'tree'] ephemeral-")
    names = [volume["name"] for volume in server.json("volume", "list")["volumes"]]
    assert left.split()[-1] not in names


def put_over_http(server: Server, size: int) -> tuple[str, list[bytes], str]:
    """Begins a large file: its id, its chunks, and the path of it."""
    chunks = [os.urandom(min(CHUNK, size - begin)) for begin in range(0, size, CHUNK)]
    hashes = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    name = hashlib.sha256(hashes).hexdigest()
    answer = server.http("PUT", f"/api/v1/files/{name}?size_bytes={size}", hashes)
    assert (answer.status, answer.document) == (200, {"missing": list(range(len(chunks)))})
    return name, chunks, f"/api/v1/files/{name}"


def test_an_interrupted_put_goes_on_where_it_was_also_after_a_crash(own_server: Server) -> None:
    server = own_server
    server.cli("volume", "create", "v")
    name, chunks, path = put_over_http(server, 3 * CHUNK + 5)
    for index in (0, 3):
        answer = server.http("PUT", f"{path}/chunks/{index}", chunks[index])
        assert answer.document == {"whole": False}
    kill(server, "serve")
    server.up()
    hashes = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    size = sum(map(len, chunks))
    answer = server.http("PUT", f"{path}?size_bytes={size}", hashes)
    assert answer.document == {"missing": [1, 2]}
    refused = server.http("PUT", f"{path}/chunks/1", chunks[2])
    assert (refused.status, refused.code) == (400, "invalid_argument")
    assert server.http("PUT", f"{path}/chunks/1", chunks[1]).document == {"whole": False}
    missing = json.dumps({"put": "x", "id": name}).encode()
    assert server.http("POST", "/api/v1/volumes/v/commit", missing).code == "conflict"
    assert server.http("PUT", f"{path}/chunks/2", chunks[2]).document == {"whole": True}
    assert server.http("POST", "/api/v1/volumes/v/commit", missing).document["version"] == 1
    server.cli("volume", "get", "v", "x", server.data / "got")
    assert (server.data / "got").read_bytes() == b"".join(chunks)


KILLED_UPLOAD = """
import os, sys
from ember import Volume
from ember._volume_upload import Upload
upload = Upload(Volume.from_name("v"))
upload.put_file(sys.argv[1], "large")
upload.commit(lambda done, _total: done and os.kill(os.getpid(), 9))
"""


def test_a_new_large_file_goes_on_where_its_put_was_killed(
    own_server: Server, tmp_path: Path
) -> None:
    server = own_server
    server.cli("volume", "create", "v")
    large, renamed = tmp_path / "large", tmp_path / "renamed"
    large.write_bytes(os.urandom(12 * CHUNK + 5))
    drafts = server.data / "serve" / "volumes" / "drafts"
    killed = [sys.executable, "-c", KILLED_UPLOAD, large]
    assert subprocess.run(killed, env=server.environment, check=False).returncode == -9
    assert len(list(drafts.iterdir())) == 1
    kill(server, "serve")
    server.up()
    assert server.json("volume", "put", "v", large)["version"] == 1
    assert not list(drafts.iterdir())
    server.cli("volume", "get", "v", "large", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == large.read_bytes()
    assert server.json("volume", "put", "v", large)["bytes_sent"] == 0
    large.rename(renamed)
    moved = server.json("volume", "put", "v", renamed)
    assert (moved["version"], moved["bytes_sent"]) == (2, 0)


def test_two_who_put_the_same_new_large_file_at_once_both_have_it(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(5 * CHUNK + 5))
    threads = [
        threading.Thread(target=server.cli, args=("volume", "put", shelf, tmp_path / "large", who))
        for who in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for who in ("a", "b"):
        server.cli("volume", "get", shelf, who, tmp_path / who)
        assert (tmp_path / who).read_bytes() == (tmp_path / "large").read_bytes()


def test_two_who_put_at_once_both_have_their_files(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    for who in ("a", "b"):
        (tmp_path / who).mkdir()
        for number in range(50):
            (tmp_path / who / f"{who}{number}").write_text(f"{who}{number}")
        (tmp_path / who / "both").write_text(who)
    threads = [
        threading.Thread(target=server.cli, args=("volume", "put", shelf, tmp_path / who))
        for who in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths(server, shelf)) == 101
    assert text_of(server, shelf, "both") in ("a", "b")


# --- hostile input ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "", "a" * 64, "a\0b", "a b", "-x"])
def test_a_volumes_name_cannot_lead_anywhere(server: Server, name: str) -> None:
    answer = server.http("POST", "/api/v1/volumes", {"name": name})
    assert (answer.status, answer.code) == (400, "invalid_argument")


HOSTILE = [
    "..", "../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "a/", "", "x" * 256,
    "a/" * 600 + "b", "a\0b",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_cannot_lead_out_of_a_volume(server: Server, shelf: str, path: str) -> None:
    before = {p for p in server.data.parent.iterdir() if p.name.startswith("x")}
    empty = hashlib.sha256(b"").hexdigest()
    server.http("PUT", "/api/v1/files", (0).to_bytes(4, "little"))
    for change in (
        {"put": path, "id": empty},
        {"link": path, "target": "/etc/passwd"},
        {"directory": path},
        {"remove": path, "recursive": True},
        {"copy": path, "to": "y"},
        {"move": path, "to": "y"},
    ):
        answer = server.http("POST", f"/api/v1/volumes/{shelf}/commit", json.dumps(change).encode())
        assert (answer.status, answer.code) == (400, "invalid_argument"), change
    from urllib.parse import quote

    answer = server.http("GET", f"/api/v1/volumes/{shelf}/file?path={quote(path, safe='')}")
    assert answer.status in (400, 404)
    assert versions(server, shelf) == []
    assert {p for p in server.data.parent.iterdir() if p.name.startswith("x")} == before


def test_no_link_is_followed(server: Server, shelf: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    empty = hashlib.sha256(b"").hexdigest()
    server.http("PUT", "/api/v1/files", (0).to_bytes(4, "little"))
    path = f"/api/v1/volumes/{shelf}"
    link = json.dumps({"link": "out", "target": str(secret)}).encode()
    assert server.http("POST", f"{path}/commit", link).status == 200
    for tried in ("out/key", "out"):
        assert server.http("GET", f"{path}/file?path={tried}").status == 404
    assert server.http("GET", f"{path}/tree?path=out/").status in (400, 404)
    through = json.dumps({"put": "out/key2", "id": empty}).encode()
    assert server.http("POST", f"{path}/commit", through).code == "conflict"
    assert os.listdir(secret) == ["key"]

    # Nor on the way here: what leads outside is not made, and what is in the way not written to.
    done = server.cli("volume", "get", shelf, "/", tmp_path / "got")
    assert "leads outside" in done.stderr
    assert os.listdir(tmp_path / "got") == []
    for change in ({"remove": "out"}, {"put": "out/key", "id": empty}):
        answer = server.http("POST", f"{path}/commit", json.dumps(change).encode())
        assert answer.status == 200
    (tmp_path / "got" / "out").symlink_to(secret)
    refused = server.cli("volume", "get", shelf, "/", tmp_path / "got", status=2)
    assert "in the way" in refused.stderr
    assert (secret / "key").read_text() == "secret"

    # Links of an upload that lead outside stay here.
    source = tmp_path / "source"
    source.mkdir()
    (source / "away").symlink_to("/etc/passwd")
    (source / "up").symlink_to("../secret/key")
    (source / "fine").symlink_to("away")
    put = server.json("volume", "put", shelf, source, "/links")
    assert len(put["left_out"]) == 2
    assert [p for p in paths(server, shelf) if p.startswith("links/")] == ["links/fine"]


@pytest.mark.parametrize(
    "mount",
    [
        {"path": "/"}, {"path": "data"}, {"path": "/data/../etc"}, {"path": "/proc/1"},
        {"path": "/usr"}, {"path": "/ember/run"}, {"path": "/source"}, {"path": "/data\0"},
        {"path": "/etc/x"}, {"path": "/tmp"}, {"path": "/a:b"}, {"path": "/d", "sub_path": ".."},
        {"path": "/d", "sub_path": "/x"}, {"path": "/d", "name": "../x"}, {"path": "/d/" + "x" * 256},
    ],
)  # fmt: skip
def test_a_mount_cannot_cover_what_is_the_containers_own(
    server: Server, shelf: str, mount: dict[str, str]
) -> None:
    function = {
        "name": "f", "module": "m", "qualname": "f", "volumes": [{"name": shelf, **mount}],
    }  # fmt: skip
    body = {"source": "src-" + "0" * 32, "functions": [function]}
    answer = server.http("POST", "/api/v1/apps/hostile/deploy", body)
    assert (answer.status, answer.code) == (400, "invalid_argument")


# --- in containers ----------------------------------------------------------------------------


def test_a_container_sees_the_version_of_its_start_and_commits_the_next(
    server: Server, app: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("first")
    server.cli("volume", "put", app, tmp_path / "a")
    assert server.result(app, "tree") == {"a": "first"}
    version = server.result(app, "write", files={"b/c": "of a container", "a": "second"})
    assert version == 2
    assert paths(server, app) == ["a", "b", "b/c"]
    assert text_of(server, app, "a") == "second"
    assert server.result(app, "tree") == {"a": "first"}  # still
    assert server.result(app, "write", files={}) == 2  # nothing new
    assert server.result(app, "write_async", files={"d": "x"}) == 3  # by a container of its own
    assert server.result(app, "reload") == {
        "a": "second",
        "b": None,
        "b/c": "of a container",
        "d": "x",
    }
    message = server.json("volume", "history", app)["versions"][-1]["message"]
    assert message.startswith("commit by ct-")


def test_two_containers_each_keep_their_files_and_the_later_commit_wins_one_that_both_wrote(
    server: Server, app: str
) -> None:
    server.result(app, "write", files={"one": "1", "both": "of the first", "d/x": "1"})
    # Has not seen that: it starts before the next commit.
    server.result(app, "other", files={"two": "2", "d/y": "2"}, commit=False)
    server.result(app, "write", files={"both": "of the first again", "three": "3"})
    server.result(app, "other", files={"both": "of the second"})
    assert paths(server, app) == ["both", "d", "d/x", "d/y", "one", "three", "two"]
    assert text_of(server, app, "both") == "of the second"
    # What the first has committed before is not committed again over that.
    server.result(app, "write", files={"four": "4"})
    assert text_of(server, app, "both") == "of the second"


def test_what_a_container_deletes_goes_and_what_others_put_there_meanwhile_stays(
    server: Server, app: str, tmp_path: Path
) -> None:
    for name in ("d/a", "d/b", "e/x", "f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    server.cli("volume", "put", app, tmp_path)
    server.result(app, "run", script="true")  # it has the volume as of now
    (tmp_path / "late").write_text("late")
    server.cli("volume", "put", app, tmp_path / "late", "d/late")
    server.cli("volume", "put", app, tmp_path / "late", "e/late")
    server.result(app, "run", script="rm -r d; rm f; rm -r e; mkdir e; echo new > e/new; ln -s e l")
    assert paths(server, app) == ["d", "d/late", "e", "e/late", "e/new", "l"]
    server.result(app, "run", script="rm e/new; echo 2 > f")
    assert paths(server, app) == ["d", "d/late", "e", "e/late", "f", "l"]
    assert text_of(server, app, "f") == "2\n"


def test_files_keep_their_bytes_and_modes_through_a_container(
    server: Server, app: str, tmp_path: Path
) -> None:
    make_tree(tmp_path / "source")
    server.cli("volume", "put", app, tmp_path / "source")
    assert server.result(app, "run", script="./run.sh; stat -c %a run.sh readme; id -u") == (
        "ran\n755\n644\n0\n"
    )
    script = "cp models/small/weights copy; chmod 000 copy; cp run.sh twice.sh; mkfifo pipe"
    server.result(app, "run", script=script)
    server.cli("volume", "get", app, "/", tmp_path / "got")
    got = digests(tmp_path / "got")
    source = digests(tmp_path / "source")
    assert got["copy"] == source["models/small/weights"]
    assert got["twice.sh"] == source["run.sh"]
    assert {path: got[path] for path in source} == source
    assert "pipe" not in got


def test_a_read_only_mount_cannot_be_written(server: Server, app: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("as it was")
    server.cli("volume", "put", app, tmp_path / "a")
    said = server.result(app, "read_only", script="cat a; echo x > a; rm a; touch b; mkdir c")
    assert said.startswith("as it was")
    assert said.count("Read-only file system") == 4
    assert versions(server, app) == [1]


def test_a_container_may_see_one_directory_or_one_version(
    server: Server, shelf: str, tmp_path: Path
) -> None:
    make_tree(tmp_path)
    server.cli("volume", "put", shelf, tmp_path)
    server.cli("volume", "rm", shelf, "readme")
    deploy(server, shelf, "part_of_volume.py")
    assert server.result(shelf, "inside") == ["weights", "whole"]
    assert server.result(shelf, "inside", write="new") == ["new", "weights", "whole"]
    assert "models/small/new" in paths(server, shelf)
    assert "readme" in server.result(shelf, "old")
    server.cli("app", "stop", shelf)


def test_what_is_written_is_committed_in_the_background_and_at_the_end(
    server: Server, app: str
) -> None:
    server.result(app, "write", files={"later": "x"}, commit=False)
    wait_until("it is committed", lambda: paths(server, app) == ["later"])
    server.result(app, "write_and_go", files={"last": "y"})
    wait_until("its container goes", lambda: len(server.containers(app)) == 1)
    wait_until("it is committed", lambda: paths(server, app) == ["last", "later"])
    left = server.data / "serve" / "volumes" / "uppers"
    wait_until(
        "nothing of it is left",
        lambda: (
            {path.name for path in left.iterdir()}
            <= {one["container_id"] for one in server.containers(app)}
        ),
    )


def test_files_that_are_open_keep_a_volume_from_moving_on(
    server: Server, app: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a")
    server.cli("volume", "put", app, tmp_path / "a")
    assert "open" in server.result(app, "reload_with_open_file", name="a")


def test_a_missing_volume_is_told_at_the_deploy(server: Server) -> None:
    refused = server.cli("deploy", APPS / "part_of_volume.py", VOLUME="not-there", status=2).stderr
    assert "there is no volume not-there" in refused
    assert "ember volume create not-there" in refused


def test_processes_have_no_volumes(tmp_path: Path) -> None:
    with running_server("--isolation", "process") as server:
        refused = server.cli("deploy", APPS / "keeps_files.py", status=2).stderr
        assert "start Ember as root" in refused


# --- crashes and full disks -------------------------------------------------------------------


def texts_of(server: Server, version: int, into: Path) -> dict[str, str]:
    server.cli("volume", "get", "shelf", "/", into, "--version", version)
    return {path.name: path.read_text().strip() for path in into.iterdir()}


def has_written(server: Server, text: str) -> bool:
    uppers = server.data / "serve" / "volumes" / "uppers"
    return any(last.read_text() == f"{text}\n" for last in uppers.glob("*/*/files/2000"))


def test_a_commit_is_whole_or_not_there_wherever_serve_is_killed(
    own_server: Server, tmp_path: Path
) -> None:
    server = own_server
    server.cli("volume", "create", "shelf")
    deploy(server, "shelf")
    fill = "for n in $(seq 1 2000); do echo {} > $n; done"
    server.result("shelf", "run", script=fill.format("first"))
    old = versions(server, "shelf")[-1]
    before = texts_of(server, old, tmp_path / "before")
    assert set(before.values()) == {"first"}
    for delay_ms in (0, 5, 20, 60, 150, 400):
        writing = str(delay_ms)
        process = subprocess.Popen(
            server.command("call", "shelf.run", fill.format(writing)), env=server.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # From when its files are written the commit may be anywhere.
        wait_until("it has written all", partial(has_written, server, writing))
        threading.Event().wait(delay_ms / 1000)
        kill(server, "serve")
        process.wait(timeout=60)
        server.up()
        assert texts_of(server, old, tmp_path / f"old-{delay_ms}") == before
        newest = versions(server, "shelf")[-1]
        texts = texts_of(server, newest, tmp_path / f"new-{delay_ms}")
        assert texts.keys() == before.keys()
        wait_until("its container is known again", lambda: server.containers("shelf"))
    wait_until(
        "what was written last is committed", lambda: text_of(server, "shelf", "7") == "400\n"
    )
    volumes = server.data / "serve" / "volumes"
    kill(server, "serve")
    server.up()  # which removes what no version has
    wait_until("nothing is half made", lambda: os.listdir(volumes / "tmp") == [])


def test_what_a_container_wrote_is_committed_by_the_server_after_a_crash(
    own_server: Server,
) -> None:
    server = own_server
    server.cli("volume", "create", "shelf")
    deploy(server, "shelf")
    server.result("shelf", "write", files={"a": "committed"})
    server.result("shelf", "write", files={"b": "left"}, commit=False)
    kill(server, "serve")
    kill(server, "node")
    for process in [int(p) for p in os.listdir("/proc") if p.isdigit()]:
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{process}/environ").read_bytes()
            mark = (server.data / "node" / "node_id").read_text().strip()
            if mark.encode() in environment:
                os.kill(process, 9)
    server.up()
    wait_until("it is committed", lambda: paths(server, "shelf") == ["a", "b"])
    assert text_of(server, "shelf", "b") == "left"


def test_a_full_disk_refuses_a_put_and_a_commit_and_leaves_the_version_whole(
    data: Path, tmp_path: Path
) -> None:
    with server_with_disk(data, "serve", 64 * MIB) as (server, disk):
        server.cli("volume", "create", "shelf")
        (tmp_path / "small").write_text("small")
        (tmp_path / "large").write_bytes(os.urandom(20 * MIB))
        server.cli("volume", "put", "shelf", tmp_path / "small")
        deploy(server, "shelf")
        server.result("shelf", "run", script="head -c 9000000 /dev/urandom > new", commit=False)
        disk.fill(leave=4 * MIB)
        refused = server.cli("volume", "put", "shelf", tmp_path / "large", status=5).stderr
        assert FULL in refused
        answer = server.call("shelf", "run", script="true")
        assert answer.status == 500
        assert FULL in answer.message
        assert paths(server, "shelf") == ["small"]
        assert text_of(server, "shelf", "small") == "small"
        disk.free()
        server.result("shelf", "run", script="true")
        assert paths(server, "shelf") == ["new", "small"]
        server.cli("volume", "put", "shelf", tmp_path / "large")
        server.cli("volume", "get", "shelf", "large", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == (tmp_path / "large").read_bytes()
        server.cli("app", "stop", "shelf")
        wait_until("its containers go", lambda: not server.containers("shelf"))


def test_what_volumes_store_is_on_the_bill_and_the_ledger_is_sound(
    own_server: Server, tmp_path: Path
) -> None:
    server = own_server
    (tmp_path / "large").write_bytes(os.urandom(64 * MIB))
    server.cli("volume", "create", "shelf")
    server.cli("volume", "put", "shelf", tmp_path / "large")

    def stored() -> dict[str, Any]:
        rows = server.json("cost", "--by", "function,meter")["rows"]
        return next((row for row in rows if row["meter"] == "disk"), {"disk_mib_ms": 0})

    kill(server, "serve")
    server.up()
    began_s = time.monotonic()
    wait_until("a second goes by", lambda: time.monotonic() - began_s > 1)
    server.cli("volume", "delete", "shelf")
    row = stored()
    assert (row["app"], row["function"]) == ("(volumes)", "shelf")
    assert row["disk_mib_ms"] >= 64 * 1000
    assert float(row["usd"]) > 0
    assert stored() == row  # it has gone
    findings = json.loads(server.cli("doctor", "--state", "--json").stdout)["findings"]
    assert [one for one in findings if one["verdict"] != "ok"] == []
