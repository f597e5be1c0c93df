"""An image that is made in a second: this machine's Python and a shell, and what a test adds."""

from __future__ import annotations

import functools
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from oci_layout import Entry, Layer, entry, pack, write_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    "cat",
    "chmod",
    "chown",
    "cp",
    "env",
    "find",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sh",
    "touch",
    "true",
)
_PYTHON = Path("/usr/bin/python3").resolve()
_LIBRARY = Path("/usr/lib") / _PYTHON.name
_LEFT_OUT = re.compile(r"__pycache__|/test/|/config-|/dist-packages/|/idlelib/|/tkinter/|/lib2to3/")


def _needed_by(programs: list[Path]) -> set[Path]:
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", told)}


def _files() -> Iterator[tuple[str, Path]]:
    """Where each file stands in the image, and where here."""
    modules = [
        path for path in _LIBRARY.rglob("*") if path.is_file() and not _LEFT_OUT.search(str(path))
    ]
    for path in modules:
        yield str(path), path
    yield "/usr/bin/python3", _PYTHON
    programs = [Path(f"/usr/bin/{name}").resolve() for name in PROGRAMS]
    for name, path in zip(PROGRAMS, programs, strict=True):
        yield f"/usr/bin/{name}", path
    for path in _needed_by([_PYTHON, *programs, *(m for m in modules if m.suffix == ".so")]):
        place = path if str(path).startswith("/usr") else Path(f"/usr{path}")
        yield str(place), path


@functools.cache
def base_layer() -> Layer:
    links = [
        entry(name, type=tarfile.SYMTYPE, linkname=f"usr/{name}", mode=0o777)
        for name in ("bin", "lib", "lib64")
    ]
    files = [
        entry(place.lstrip("/"), path.read_bytes(), mode=path.stat().st_mode & 0o777)
        for place, path in sorted(_files())
    ]
    return pack([*links, *files])


def write_image(directory: Path, more: list[Entry], config: dict[str, object] | None = None) -> str:
    """The image with these entries over it, in the words of `Image.from_registry`."""
    return write_layout(directory, [base_layer(), more], config=config)
