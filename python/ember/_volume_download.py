"""Getting files of a volume: several at once, taken up again where an earlier try stopped.

What is on its way lies beside its place, as `.NAME.vVERSION.part`, whole from its beginning.
Nothing is written through a link that stands in the way; links that lead outside are left out.
"""

from __future__ import annotations

import os

from ember._volume_upload import _parallel, leads_outside
from ember.exception import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._volume import Volume

    Progress = Callable[[int, int], None]

_RANGE_BYTES = 8 << 20
_AHEAD = 4


class Download:
    """What was got: how much, and what was left out."""

    def __init__(self, volume: Volume, version: int | None) -> None:
        self.left_out: list[str] = []
        self.files = 0
        self.size_bytes = 0
        self._volume = volume
        self._version = version
        self._done_bytes = 0
        self._progress: Progress = lambda _done, _total: None

    def get_directory(self, remote: str, local: str, progress: Progress | None = None) -> None:
        """All that is in a directory of the volume, into a directory here."""
        self._progress = progress or self._progress
        prefix = remote.strip("/")
        entries = list(self._volume.entries(prefix, recursive=True, version=self._version))
        files = [entry for entry in entries if entry["type"] == "file"]
        self.files, self.size_bytes = len(files), sum(entry["size_bytes"] for entry in files)
        os.makedirs(local, exist_ok=True)
        root = os.open(local, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for entry in entries:
                path = _below(prefix, entry["path"])
                if entry["type"] == "directory":
                    os.close(_directory(root, path))
                elif entry["type"] == "link":
                    self._make_link(root, path, entry["target"])
            small = [entry for entry in files if entry["size_bytes"] <= _RANGE_BYTES]
            large = [entry for entry in files if entry["size_bytes"] > _RANGE_BYTES]

            def get(entry: dict[str, Any]) -> int:
                return self._get_into(root, prefix, entry)

            for size in _parallel(get, small):
                self._note(size)
            for entry in large:
                self._note(self._get_into(root, prefix, entry, wide=True))
        finally:
            os.close(root)

    def get_file(self, remote: str, local: str, progress: Progress | None = None) -> None:
        """One file, to a path here."""
        self._progress = progress or self._progress
        (entry,) = self._volume.entries(remote, version=self._version)
        self.files, self.size_bytes = 1, entry["size_bytes"]
        parent = os.open(os.path.dirname(local) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            size = self._get(parent, os.path.basename(local), entry, wide=True)
            self._note(size)
        finally:
            os.close(parent)

    def _note(self, size: int) -> None:
        self._done_bytes += size
        self._progress(self._done_bytes, self.size_bytes)

    def _get_into(
        self, root: int, prefix: str, entry: dict[str, Any], *, wide: bool = False
    ) -> int:
        path = _below(prefix, entry["path"])
        parent = _directory(root, os.path.dirname(path))
        try:
            return self._get(parent, os.path.basename(path), entry, wide=wide)
        finally:
            os.close(parent)

    def _get(self, parent: int, name: str, entry: dict[str, Any], *, wide: bool) -> int:
        """The bytes that were not told of yet."""
        part = f".{name}"[:200] + f".v{self._version or 0}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        file = os.open(part, flags, 0o755 if entry["program"] else 0o644, dir_fd=parent)
        try:
            have = min(os.fstat(file).st_size, entry["size_bytes"])
            offset = have - have % _RANGE_BYTES
            if wide:
                self._note(offset)
                self._fill_wide(file, entry, offset)
                told = entry["size_bytes"]
            else:
                self._fill(file, entry, offset)
                told = 0
            os.ftruncate(file, entry["size_bytes"])
        finally:
            os.close(file)
        os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
        return entry["size_bytes"] - told

    def _fill(self, file: int, entry: dict[str, Any], offset: int) -> None:
        while offset < entry["size_bytes"]:
            piece = self._range(entry, offset)
            os.pwrite(file, piece, offset)
            offset += len(piece)

    def _fill_wide(self, file: int, entry: dict[str, Any], offset: int) -> None:
        """Ranges that are fetched side by side and written in order."""
        from concurrent.futures import Future, ThreadPoolExecutor

        offsets = iter(range(offset, entry["size_bytes"], _RANGE_BYTES))
        with ThreadPoolExecutor(_AHEAD, "ember-get") as pool:
            waiting: list[tuple[int, Future[bytes]]] = []
            while True:
                while len(waiting) < _AHEAD and (begin := next(offsets, None)) is not None:
                    waiting.append((begin, pool.submit(self._range, entry, begin)))
                if not waiting:
                    return
                begin, future = waiting.pop(0)
                piece = future.result()
                os.pwrite(file, piece, begin)
                self._note(len(piece))

    def _range(self, entry: dict[str, Any], offset: int) -> bytes:
        piece = self._volume.read_range(entry["path"], offset, version=self._version)
        if len(piece) != min(_RANGE_BYTES, entry["size_bytes"] - offset):
            raise ConflictError(f"{entry['path']} has changed meanwhile; get it again")
        return piece

    def _make_link(self, root: int, path: str, target: str) -> None:
        if leads_outside(path, target):
            self.left_out.append(f"{path} leads outside, to {target}")
            return
        parent = _directory(root, os.path.dirname(path))
        try:
            name = os.path.basename(path)
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            os.symlink(target, name, dir_fd=parent)
        finally:
            os.close(parent)


def _below(prefix: str, path: str) -> str:
    return path[len(prefix) :].lstrip("/") if prefix else path


def _directory(root: int, path: str) -> int:
    """A directory beneath the root, made where it isn't there; never through a link."""
    here = os.dup(root)
    for part in filter(None, path.split("/")):
        if part in (".", ".."):
            os.close(here)
            raise ConflictError(f"{path!r} is no path within a volume")
        try:
            try:
                os.mkdir(part, dir_fd=here)
            except FileExistsError:
                pass
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        except OSError as error:
            raise ConflictError(f"{path}: {part} is in the way: {error.strerror}") from error
        finally:
            os.close(here)
        here = below
    return here
