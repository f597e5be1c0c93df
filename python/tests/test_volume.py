"""Volumes as the SDK sees them, without a server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

import ember
from ember import _volume_upload
from ember._volume import Volume, mount_specs
from ember.exception import ConflictError, InvalidArgumentError

if TYPE_CHECKING:
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
