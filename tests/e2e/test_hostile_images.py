"""Images whose layers try to write outside the root, or to bring what a container must not have."""

from __future__ import annotations

import os
import shutil
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Server, running_server
from oci_layout import entry, write_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK, HARD_LINK, DIRECTORY = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
MARK = f"ember-escaped-{uuid.uuid4().hex}"
OUTSIDE = f"/var/tmp/{MARK}"
UP = "../" * 12
WAYS = {
    "dots": [entry(f"{UP}var/tmp/{MARK}", b"x")],
    "an absolute name": [entry(f"{OUTSIDE}", b"x")],
    "a link and a file through it": [
        entry("way", type=LINK, linkname="/var/tmp"), entry(f"way/{MARK}", b"x"),
    ],
    "a relative link and a file through it": [
        entry("way", type=LINK, linkname=f"{UP}var/tmp"), entry(f"way/{MARK}", b"x"),
    ],
    "a link in place of a directory": [
        entry("way", type=DIRECTORY, mode=0o755), entry("way", type=LINK, linkname="/var/tmp"),
        entry(f"way/{MARK}", b"x"),
    ],
    "a hard link to the outside": [
        entry("way", type=HARD_LINK, linkname="/etc/hostname"), entry("way", b"x"),
    ],
    "a hard link with dots": [
        entry("way", type=HARD_LINK, linkname=f"{UP}etc/hostname"), entry("way", b"x"),
    ],
    "a link to a link": [
        entry("one", type=LINK, linkname="/"), entry("two", type=LINK, linkname="one/var/tmp"),
        entry(f"two/{MARK}", b"x"),
    ],
    "the metadata that removes files": [
        entry("var/.wh.tmp", b""), entry(f".wh.{UP}var", b""),
    ],
    "a name of 255 bytes": [entry("n" * 255, b"x"), entry("deep/" * 40 + "n" * 255, b"x")],
}  # fmt: skip


@pytest.fixture(scope="module")
def builder() -> Iterator[Server]:
    if os.geteuid() != 0:
        pytest.skip("images with a root of their own take root")
    if missing := [tool for tool in ("skopeo", "umoci") if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with running_server() as server:
        yield server


def build(server: Server, reference: str) -> str:
    """What `ember image pull` said, whether or not it succeeded."""
    import subprocess

    done = subprocess.run(
        server.command("image", "pull", reference), env=server.environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_written_outside_the_root(builder: Server, data: Path, way: str) -> None:
    host_name = Path("/etc/hostname").read_bytes()
    before = sorted(os.listdir("/var/tmp"))
    told = build(builder, write_layout(data / "image", [WAYS[way]]))
    assert "base (registry" in told, "it got as far as the layers"
    assert sorted(os.listdir("/var/tmp")) == before
    assert Path("/etc/hostname").read_bytes() == host_name
    assert not [path for path in builder.data.rglob(MARK) if "files" not in path.parts]


def test_devices_and_set_user_id_give_nothing(builder: Server, data: Path) -> None:
    layer = [
        entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666),
        entry("kmsg", type=tarfile.CHRTYPE, devmajor=1, devminor=11, mode=0o666),
        entry("tool", b"#!/bin/sh\n", mode=0o6755),
    ]
    build(builder, write_layout(data / "image", [layer]))
    for path in (builder.data / "node").rglob("*"):
        assert not path.is_block_device(), path
        if path.is_char_device():
            status = path.stat()
            assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (0, 0), path


def test_an_image_of_another_architecture_is_refused(builder: Server, data: Path) -> None:
    told = build(builder, write_layout(data / "image", [[entry("a", b"x")]], "s390x"))
    assert "it is for s390x, and this machine is" in told


def test_a_layer_that_is_no_archive_is_refused(builder: Server, data: Path) -> None:
    reference = write_layout(data / "image", [[entry("a", b"x")]])
    blobs = sorted((data / "image" / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    blobs[0].write_bytes(b"no archive")
    assert "failed" in build(builder, reference)
