"""The source that travels with an app, and what stays behind.

The rule: what an app's modules can import next to them goes along.

- A function in a package: its whole top-level package, data files included, as imports and
  `importlib.resources` need it, and the modules and packages beside that package.
- A function in a script: the script, the other .py files of its directory, and the packages
  (directories with an __init__.py) there, with their data files. Data files beside a script stay
  behind: pass them as arguments, or put them into a package.

Never along: what is hidden, caches, virtual environments, node_modules, build directories. A
limit of 2,000 files and 50 MB keeps a home directory from being uploaded by mistake.
"""

from __future__ import annotations

import hashlib
import os
import sys

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ember._client import Client

MAX_FILES = 2_000
MAX_BYTES = 50_000_000
_MAX_SHOWN = 3
_BLOCK = 1 << 20
_SKIPPED = {"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"}
_COMPILED = (".pyc", ".pyo")


class Source:
    """Files by their path in the container, and what was left out and why."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, str] = {}  # path in the source -> path here
        self.left_out: list[str] = []
        self.size_bytes = 0

    def summary(self) -> str:
        """One line about what travels."""
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        if self.size_bytes < 10**6:
            return f"{files}, {self.size_bytes / 1e3:.1f} kB of {self.root}"
        return f"{files}, {self.size_bytes / 1e6:.1f} MB of {self.root}"

    def left_out_text(self) -> str:
        """What lies beside it and stays behind, or the first of it."""
        shown = ", ".join(self.left_out[:_MAX_SHOWN])
        more = len(self.left_out) - _MAX_SHOWN
        return shown + (f" and {more} more" if more > 0 else "")


def collect(modules: list[str]) -> Source:
    """The source of the (imported) modules; all must lie under one root."""
    roots = {_root_of(module) for module in modules}
    if len(roots) != 1:
        raise InvalidArgumentError(
            f"the functions of an app must be importable from one directory, not from several: "
            f"{', '.join(sorted(roots))}"
        )
    source = Source(roots.pop())
    needed = {module.partition(".")[0] for module in modules}
    with os.scandir(source.root) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            _take_top(source, entry, needed)
    return source


def upload(source: Source, client: Client, uploading: Callable[[int], None] | None = None) -> str:
    """Uploads what the server lacks; the source's digest."""
    return upload_files(source.files, client, uploading)


def upload_files(
    paths: dict[str, str], client: Client, uploading: Callable[[int], None] | None = None
) -> str:
    """The same for files by their paths there; a program stays one that can be executed."""
    digests: dict[str, str] = {}
    files: list[dict[str, object]] = []
    for path, local in paths.items():
        sha256, size_bytes = _digest(local)
        digests[sha256] = local
        entry = {"path": path, "sha256": sha256, "size_bytes": size_bytes}
        files.append({**entry, "executable": True} if os.access(local, os.X_OK) else entry)
    answer = client.post_json("/api/v1/sources", {"files": files})
    if answer["missing"] and uploading is not None:
        uploading(len(answer["missing"]))
    for sha256 in answer["missing"]:
        with open(digests[sha256], "rb") as file:
            client.upload(f"/api/v1/blobs/{sha256}", file.read())
    if answer["missing"]:
        answer = client.post_json("/api/v1/sources", {"files": files})
    return answer["digest"]


def _digest(local: str) -> tuple[str, int]:
    """A file's SHA-256, and how many bytes it has."""
    sha256, size_bytes = hashlib.sha256(), 0
    try:
        with open(local, "rb") as file:
            while block := file.read(_BLOCK):
                sha256.update(block)
                size_bytes += len(block)
    except OSError as error:
        raise InvalidArgumentError(
            f"{local} cannot be read: {error.strerror}; all beside an app travels with it: "
            "move one of them to a directory of its own"
        ) from error
    return sha256.hexdigest(), size_bytes


def _root_of(module: str) -> str:
    """The directory from which the module is imported."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        raise InvalidArgumentError(
            f"module {module} has no file: functions must be defined in a file"
        )
    directory = os.path.dirname(os.path.abspath(file))
    levels = module.count(".") + (os.path.basename(file) == "__init__.py")
    for _ in range(levels):
        directory = os.path.dirname(directory)
    return directory


def _take_top(source: Source, entry: os.DirEntry[str], needed: set[str]) -> None:
    """Takes an entry of the root if it can be imported."""
    name = entry.name
    if _is_skipped(name):
        return
    if entry.is_dir():
        if name in needed or os.path.exists(os.path.join(entry.path, "__init__.py")):
            for path in _walk(entry.path):
                _take(source, path)
        elif not _is_environment(entry.path):
            source.left_out.append(name + "/")
    elif name.endswith(".py"):
        _take(source, entry.path)
    else:
        source.left_out.append(name)


def _walk(directory: str) -> Iterator[str]:
    for parent, directories, files in os.walk(directory):
        directories[:] = sorted(d for d in directories if not _is_skipped(d))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(_COMPILED):
                yield os.path.join(parent, name)


def _take(source: Source, path: str) -> None:
    if not os.path.isfile(path):
        return  # a socket, a pipe, a link to nowhere
    source.size_bytes += os.path.getsize(path)
    source.files[os.path.relpath(path, source.root).replace(os.sep, "/")] = path
    if len(source.files) > MAX_FILES or source.size_bytes > MAX_BYTES:
        raise InvalidArgumentError(
            f"too much source in {source.root}: over {MAX_FILES:,} files or "
            f"{MAX_BYTES // 10**6} MB; move the app to a directory of its own"
        )


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED or name.endswith((".egg-info", *_COMPILED))


def _is_environment(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, "pyvenv.cfg"))
