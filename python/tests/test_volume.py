"""Volumes as the SDK sees them, without a server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from fake_server import Answer, Asked, FakeServer

import ember
from ember import _client, _config, _volume_upload
from ember._volume import Volume, mount_specs
from ember.exception import ConflictError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


app = ember.App("a")
models = Volume.from_name("models", create_if_missing=True)
part = models.with_mount_options(sub_path="/small/").read_only()


@app.function(volumes={"/data": part, "/all/": Volume.from_name("all", version=3)})
def read() -> None: ...


def test_a_handle_asks_no_server() -> None:
    assert read.spec()["volumes"] == [
        {"path": "/data", "name": "models", "version": 0, "read_only": True, "sub_path": "small"},
        {"path": "/all", "name": "all", "version": 3, "read_only": False, "sub_path": ""},
    ]


@pytest.mark.parametrize(
    ("volumes", "why"),
    [
        (["/data"], "expected"),
        ({"data": Volume("v")}, "absolute"),
        ({"/data": "v"}, "ember.Volume"),
        ({"/a": Volume("v"), "/b": Volume("v")}, "twice"),
    ],
)
def test_mounts_that_cannot_be_are_refused_where_they_are_written(volumes: Any, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        mount_specs(volumes)


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 64, 7])
def test_names_are_checked(name: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        Volume.from_name(name)


def test_a_version_is_one_that_there_may_be_and_stays_as_it_is() -> None:
    with pytest.raises(InvalidArgumentError):
        Volume.from_name("v", version=0)
    with pytest.raises(ConflictError, match="without a version"):
        Volume.from_name("v", version=1).remove_file("a")


def test_what_blocks_has_a_twin_for_async_code() -> None:
    async def both() -> str:
        with pytest.raises(InvalidArgumentError) as refused:
            await models.commit.aio()
        return str(refused.value)

    with pytest.raises(InvalidArgumentError) as refused:
        models.commit()
    assert asyncio.run(both()) == str(refused.value)


def test_commit_and_reload_are_for_containers() -> None:
    for action in (Volume("v").commit, Volume("v").reload):
        with pytest.raises(InvalidArgumentError, match="outside a container"):
            action()


LINKS = {
    ("a", "b"): False, ("d/a", "../b"): False, ("d/a", "../../b"): True, ("a", "/etc"): True,
    ("a", ".."): True, ("a", "."): False, ("d/a", "x/../../b"): False, ("a", "d/../../b"): True,
}  # fmt: skip


@pytest.mark.parametrize(("path", "target"), LINKS)
def test_links_that_lead_outside_are_known(path: str, target: str) -> None:
    assert _volume_upload.leads_outside(path, target) is LINKS[path, target]


def test_a_tree_is_collected_with_its_links_and_without_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d" / "empty").mkdir(parents=True)
    (tmp_path / "d" / "a").write_text("x")
    (tmp_path / "run").write_text("#!/bin/sh")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "in").symlink_to("d/a")
    (tmp_path / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    upload = _volume_upload.Upload(Volume("v"))
    upload.put_directory(tmp_path, "/to")
    assert {path: file.program for path, file in upload._files.items()} == {
        "to/d/a": False, "to/run": True
    }  # fmt: skip
    assert upload._others == [
        {"directory": "to/d/empty"}, {"link": "to/in", "target": "d/a"}
    ]  # fmt: skip
    assert len(upload.left_out) == 2


def test_a_file_is_known_by_the_digests_of_its_chunks(tmp_path: Path) -> None:
    data = os.urandom(_volume_upload.CHUNK_BYTES + 3)
    (tmp_path / "large").write_bytes(data)
    (tmp_path / "none").write_bytes(b"")
    upload = _volume_upload.Upload(Volume("v"))
    upload.put_directory(tmp_path)
    files = list(upload._files.values())
    _volume_upload._hash_large(files[0])
    _volume_upload._hash(files[1:])
    split = _volume_upload.CHUNK_BYTES
    chunks = [hashlib.sha256(part).digest() for part in (data[:split], data[split:])]
    assert [file.id for file in files] == [
        hashlib.sha256(b"".join(chunks)).hexdigest(), hashlib.sha256(b"").hexdigest()
    ]  # fmt: skip


class Store:
    """As much of the server as a put needs. `here` is what it has of each draft."""

    def __init__(self) -> None:
        self.server = FakeServer(self.answer)
        self.maybe: list[str] = []
        self.here: list[str | None] = [None, None]
        self.on_chunk = lambda: None
        self.refuses_drafts = False
        self.sent: dict[str, bytes] = {}  # what came, by the path that it came to

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix("/api/v1/").partition("?")[0]
        said: Any = {}
        if path.endswith("/needs"):
            lines = [json.loads(line) for line in asked.body.splitlines()]
            ids = [line["id"] for line in lines if "id" in line]
            said = {"needed": ids, "maybe": self.maybe}
        elif path.endswith("/commit"):
            said = {"version": 1, "changed": True}
        elif "/chunks/" in path:
            self.sent[path] = asked.body
            self.on_chunk()
        elif path.endswith("/finish"):
            said = {"id": "f" * 64}
        elif path.startswith("drafts/"):
            said = {"chunks": self.here}
        elif path.startswith("files/"):
            said = {"missing": [0, 1]}
        if path.startswith("drafts/") and self.refuses_drafts:
            error = {"error": {"code": "conflict", "message": "it has ended"}}
            return 409, {}, json.dumps(error).encode()
        return 200, {}, json.dumps(said).encode()

    def put(self, *files: Path) -> _volume_upload.Upload:
        upload = _volume_upload.Upload(Volume("v"))
        for file in files:
            upload.put_file(file, f"/{file.name}")
        upload.commit()
        return upload

    @property
    def commit(self) -> str:
        return next(asked.body.decode() for asked in self.server.asked if "commit" in asked.path)

    @property
    def draft(self) -> str:
        """The name of the only one."""
        (name,) = {path.split("/")[1] for path in self.sent if path.startswith("drafts/")}
        return name


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    client = _client.Client(_config.Config(store.server.url, "secret"))
    monkeypatch.setattr(Volume, "_client", lambda _volume: client)
    yield store
    store.server.close()


CHUNK = _volume_upload.CHUNK_BYTES


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of two chunks."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(CHUNK + 3))
    return path


def test_a_large_file_that_the_server_cannot_have_is_hashed_there(
    store: Store, large: Path
) -> None:
    data = large.read_bytes()
    assert store.put(large).bytes_sent == len(data)
    name = store.draft
    assert store.sent == {
        f"drafts/{name}/chunks/0": data[:CHUNK], f"drafts/{name}/chunks/1": data[CHUNK:]
    }  # fmt: skip
    assert "f" * 64 in store.commit
    store.put(large)
    assert store.draft == name, "an unchanged file goes on with its draft"
    os.utime(large, ns=(1, 1))
    store.sent.clear()
    store.put(large)
    assert store.draft != name


def test_of_a_draft_that_is_taken_up_only_what_differs_travels(store: Store, large: Path) -> None:
    store.here = [hashlib.sha256(large.read_bytes()[:CHUNK]).hexdigest(), "0" * 64]
    store.put(large)
    assert list(store.sent) == [f"drafts/{store.draft}/chunks/1"]


def test_a_large_file_that_changes_while_it_is_sent_is_not_put(store: Store, large: Path) -> None:
    store.on_chunk = lambda: os.utime(large, ns=(1, 1))
    with pytest.raises(ConflictError, match="has changed while it was read"):
        store.put(large)
    assert not any("finish" in asked.path for asked in store.server.asked)


def test_a_large_file_that_the_server_may_have_is_asked_for_by_its_id(
    store: Store, large: Path
) -> None:
    store.maybe = [hashlib.sha256(large.read_bytes()[:CHUNK]).hexdigest()]
    store.put(large)
    (path,) = {path.partition("/chunks/")[0] for path in store.sent}
    assert path.startswith("files/") and path.removeprefix("files/") in store.commit


def test_of_two_large_files_that_begin_alike_each_content_travels_once(
    store: Store, large: Path
) -> None:
    same = large.with_name("same")
    same.write_bytes(large.read_bytes())
    store.put(large, same)
    assert len(store.sent) == 2
    assert all(path.startswith("files/") for path in store.sent)


def test_a_draft_that_somebody_else_has_ended_is_put_as_any_other_file(
    store: Store, large: Path
) -> None:
    store.refuses_drafts = True
    store.put(large)
    assert sum(path.startswith("files/") for path in store.sent) == 2
