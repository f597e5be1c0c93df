"""Images whose layers try to write outside the root, or to bring what a container must not have."""

from __future__ import annotations

import os
import stat
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Server, running_builder
from oci_layout import Entry, entry, write_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK, HARD_LINK, DIRECTORY = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
MARK = f"ember-escaped-{uuid.uuid4().hex}"
KEPT = "kept"  # a file outside
UP = "../" * 12


def ways_out(outside: Path) -> dict[str, list[Entry]]:
    """Layers that write a file MARK there, or change the file KEPT, if links and names are obeyed."""
    there = str(outside)
    up = f"{UP}{there.lstrip('/')}"
    return {
        "dots": [entry(f"{up}/{MARK}", b"x")],
        "an absolute name": [entry(f"{there}/{MARK}", b"x")],
        "a link and a file through it": [
            entry("way", type=LINK, linkname=there), entry(f"way/{MARK}", b"x"),
        ],
        "a relative link and a file through it": [
            entry("way", type=LINK, linkname=up), entry(f"way/{MARK}", b"x"),
        ],
        "a link in place of a directory": [
            entry("way", type=DIRECTORY, mode=0o755), entry("way", type=LINK, linkname=there),
            entry(f"way/{MARK}", b"x"),
        ],
        "a hard link to the outside": [
            entry("way", type=HARD_LINK, linkname=f"{there}/{KEPT}"), entry("way", b"x"),
        ],
        "a hard link with dots": [
            entry("way", type=HARD_LINK, linkname=f"{up}/{KEPT}"), entry("way", b"x"),
        ],
        "a link to a link": [
            entry("one", type=LINK, linkname="/"), entry("two", type=LINK, linkname=f"one{there}"),
            entry(f"two/{MARK}", b"x"),
        ],
        "a link to a file": [
            entry("way", type=LINK, linkname=f"{there}/{KEPT}"), entry("way", b"x"),
        ],
        "a removal with dots": [entry(f".wh.{up}/{KEPT}")],
        "a removal through a link": [
            entry("way", type=LINK, linkname=there), entry(f"way/.wh.{KEPT}"),
        ],
    }  # fmt: skip


WAYS = ways_out(Path("/"))
LONG_NAMES = {
    "of 255 bytes": [entry("n" * 255, b"x"), entry("deep/" * 40 + "n" * 255, b"x")],
    "of 256 bytes": [entry("n" * 256, b"x")],
}
GIVES_RIGHTS = [
    entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666),
    entry("kmsg", type=tarfile.CHRTYPE, devmajor=1, devminor=11, mode=0o666),
    entry("tool", b"#!/bin/sh\n", mode=0o6755),
]


def unpack_carelessly(layer: list[Entry], root: Path) -> None:
    """As nobody should: all that an entry says is done."""
    for info, data in layer:
        path = os.path.join(root, info.name)
        before, removes, after = path.partition(".wh.")
        if removes:
            os.unlink(before + after)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if info.type == DIRECTORY:
            os.mkdir(path)
        elif info.type == LINK:
            if os.path.isdir(path):
                os.rmdir(path)
            os.symlink(info.linkname, path)
        elif info.type == HARD_LINK:
            os.link(os.path.join(root, info.linkname), path)
        elif info.type in (tarfile.BLKTYPE, tarfile.CHRTYPE):
            kind = stat.S_IFBLK if info.type == tarfile.BLKTYPE else stat.S_IFCHR
            os.mknod(path, kind | info.mode, os.makedev(info.devmajor, info.devminor))
        else:
            Path(path).write_bytes(data)
            os.chmod(path, info.mode)


@pytest.fixture
def outside(data: Path) -> Path:
    path = data / "outside"
    path.mkdir()
    (path / KEPT).write_text("as it was")
    return path


def is_untouched(outside: Path) -> bool:
    return os.listdir(outside) == [KEPT] and (outside / KEPT).read_text() == "as it was"


@pytest.fixture(scope="module")
def builder() -> Iterator[Server]:
    with running_builder("skopeo", "umoci") as server:
        yield server


def build(server: Server, reference: str) -> str:
    """What `ember image pull` said, whether or not it succeeded."""
    import subprocess

    done = subprocess.run(
        server.command("image", "pull", reference), env=server.environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.stderr


def below(root: Path, name: str) -> list[Path]:
    """All of that name below it; what is removed meanwhile is passed over."""
    return [
        Path(parent) / name
        for parent, directories, files in os.walk(root)
        if name in directories or name in files
    ]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_written_outside_the_root(
    builder: Server, data: Path, outside: Path, way: str
) -> None:
    told = build(builder, write_layout(data / "image", [ways_out(outside)[way]]))
    assert "base (registry" in told, "it got as far as the layers"
    assert is_untouched(outside)
    assert not [path for path in below(builder.data, MARK) if "files" not in path.parts]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_by_who_obeys_a_layer(data: Path, outside: Path, way: str) -> None:
    root = data / "root"
    root.mkdir()
    unpack_carelessly(ways_out(outside)[way], root)
    assert not is_untouched(outside)


@pytest.mark.parametrize("length", LONG_NAMES)
def test_a_long_name_is_kept_or_refused(builder: Server, data: Path, length: str) -> None:
    told = build(builder, write_layout(data / "image", [LONG_NAMES[length]]))
    assert ("name too long" in told) == (length == "of 256 bytes"), told
    assert "Traceback" not in told


def devices_of(root: Path) -> set[str]:
    """But for the file system's own note that something was removed."""
    return {
        path.name
        for path in root.rglob("*")
        if path.is_block_device() or (path.is_char_device() and path.stat().st_rdev != 0)
    }


def test_devices_and_set_user_id_give_nothing(builder: Server, data: Path) -> None:
    """What a program with such a mode may do is tried in tests/escape."""
    build(builder, write_layout(data / "image", [GIVES_RIGHTS]))
    assert devices_of(builder.data / "node") == set()

    root = data / "root"
    root.mkdir()
    unpack_carelessly(GIVES_RIGHTS, root)
    assert devices_of(root) == {"disk", "kmsg"}
    assert (root / "tool").stat().st_mode & stat.S_ISUID


def test_an_image_of_another_architecture_is_refused(builder: Server, data: Path) -> None:
    told = build(builder, write_layout(data / "image", [[entry("a", b"x")]], "s390x"))
    assert "it is for s390x, and this machine is" in told


def test_a_layer_that_is_no_archive_is_refused(builder: Server, data: Path) -> None:
    reference = write_layout(data / "image", [[entry("a", b"x")]])
    blobs = sorted((data / "image" / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    blobs[0].write_bytes(b"no archive")
    assert "failed" in build(builder, reference)
