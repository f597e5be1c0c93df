"""Putting files into a volume: what the server has already does not travel again.

A file is known by the SHA-256 of its chunks' SHA-256s; chunks are of 8 MiB. The server is asked
which files it lacks; small ones travel many in a request, large ones chunk by chunk, several at
once; then one commit names them all. What has arrived stays there for a day, so that an upload that
was interrupted goes on where it was.

A large file whose size and first chunk say that the server cannot have it is not hashed here: it
travels as a draft, which the server hashes and names.
"""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial

from ember import _json
from ember._client import encode_query
from ember._http import FilePart
from ember.exception import ConflictError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from ember._volume import Volume

    T = TypeVar("T")
    R = TypeVar("R")
    # Told how many bytes of how many are stored.
    Progress = Callable[[int, int], None]

CHUNK_BYTES = 8 << 20
_READ_BYTES = 256 << 10  # to hash: what stays in a core's cache
_BATCH_BYTES = 4 << 20
_BATCH_FILES = 2_000
_LINES = 20_000  # of one question
_MAX_FILES = 400_000
_THREADS = 4


class _File:
    __slots__ = ("digests", "head", "id", "local", "path", "program", "size_bytes", "state")

    def __init__(self, path: str, local: str, status: os.stat_result) -> None:
        self.path = path
        self.local = local
        self.size_bytes = status.st_size
        self.program = bool(status.st_mode & stat.S_IXUSR)
        self.state = _state(status)
        self.digests = b""
        self.head = ""  # the SHA-256 of a large one's first chunk
        self.id = ""


class Upload:
    """Files to put, and the putting of them."""

    def __init__(self, volume: Volume) -> None:
        self.left_out: list[str] = []  # links that lead outside, sockets and the like
        self.version = 0
        self.changed = False
        self.bytes_sent = 0
        self._volume = volume
        self._files: dict[str, _File] = {}
        self._others: list[dict[str, Any]] = []
        self._temporary: list[str] = []

    def put_file(self, local: str | os.PathLike[str] | Any, remote: str) -> None:
        """One file: its path here, or something with read(), under a path in the volume."""
        path = remote.lstrip("/")
        if hasattr(local, "read"):
            local = self._spooled(local)
        local = os.fspath(local)
        if not path or path.endswith("/"):
            path += os.path.basename(local)
        self._add(path, local, os.stat(local))

    def put_directory(self, local: str | os.PathLike[str], remote: str = "/") -> None:
        """All that is in a directory, under a path in the volume. Links stay links."""
        root = os.fspath(local)
        if not os.path.isdir(root):
            raise InvalidArgumentError(f"{root} is not a directory")
        self._walk(root, root, remote.strip("/"))

    def commit(self, progress: Progress | None = None) -> int:
        """Stores what is missing and makes one new version of it all; its number."""
        try:
            return self._commit(progress or (lambda _done, _total: None))
        finally:
            for path in self._temporary:
                os.unlink(path)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size_bytes for file in self._files.values())

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self._files)

    def _spooled(self, source: Any) -> str:
        import shutil
        import tempfile

        with tempfile.NamedTemporaryFile(delete=False) as copy:
            self._temporary.append(copy.name)
            shutil.copyfileobj(source, copy)
        return copy.name

    def _walk(self, root: str, directory: str, remote: str) -> None:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        if not entries and remote:
            self._others.append({"directory": remote})
        for entry in entries:
            path = f"{remote}/{entry.name}" if remote else entry.name
            if entry.is_symlink():
                self._link(root, entry.path, path)
            elif entry.is_dir():
                self._walk(root, entry.path, path)
            elif entry.is_file():
                self._add(path, entry.path, entry.stat())
            else:
                self.left_out.append(f"{entry.path} is no file")

    def _link(self, root: str, local: str, path: str) -> None:
        target = os.readlink(local)
        outside = leads_outside(os.path.relpath(local, root), target)
        if outside:
            self.left_out.append(f"{local} leads outside, to {target}")
        else:
            self._others.append({"link": path, "target": target})

    def _add(self, path: str, local: str, status: os.stat_result) -> None:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{path!r}: the name of a file must be UTF-8") from None
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgumentError(f"{local} is no file")
        if len(self._files) >= _MAX_FILES:
            raise InvalidArgumentError(
                f"over {_MAX_FILES:,} files: put the directories one after the other"
            )
        self._files[path] = _File(path, local, status)

    def _commit(self, progress: Progress) -> int:
        self._volume._refuse_version("put")
        client = self._volume._client()
        files = list(self._files.values())
        for _ in _parallel(_hash, _groups([f for f in files if f.size_bytes <= CHUNK_BYTES])):
            pass
        large = [file for file in files if file.size_bytes > CHUNK_BYTES]
        for _ in _parallel(_hash_head, large):
            pass
        drafts = self._never_seen(large)
        for file in large:
            if file not in drafts:
                _hash_large(file)
        needed = self._needed([file for file in files if file.id])
        total = sum(file.size_bytes for file in (*needed, *drafts))
        stored = 0
        progress(0, total)
        for sent in self._send(needed, drafts):
            stored += sent
            progress(min(stored, total), total)
        self.bytes_sent = stored
        body = "\n".join(map(_json.dumps, [{"message": "put"}, *self._lines(files)])).encode()
        answer = client.send_bytes("POST", self._volume._path("commit"), body)
        self.version, self.changed = answer["version"], answer["changed"]
        return self.version

    def _send(self, needed: list[_File], drafts: Iterable[_File]) -> Iterator[int]:
        small = [file for file in needed if file.size_bytes <= CHUNK_BYTES]
        yield from _parallel(self._send_batch, _batches(small))
        for file in needed:
            if file.size_bytes > CHUNK_BYTES:
                yield from self._send_large(file)
        for file in drafts:
            yield from self._send_new(file)

    def _lines(self, files: list[_File]) -> Iterator[dict[str, Any]]:
        for file in files:
            line: dict[str, Any] = {"put": file.path, "id": file.id}
            if file.program:
                line["program"] = True
            yield line
        yield from self._others

    def _needed(self, files: list[_File]) -> list[_File]:
        """Those the server lacks, each content once."""
        by_id = {file.id: file for file in files}
        return [by_id[one] for one in self._ask("needed", [f'{{"id":"{one}"}}' for one in by_id])]

    def _never_seen(self, large: list[_File]) -> dict[_File, None]:
        """Those whose beginning neither the server nor another of them has."""
        by_head = {(file.head, file.size_bytes): file for file in large}
        lines = [f'{{"head":"{head}","size_bytes":{size}}}' for head, size in by_head]
        known = set(self._ask("maybe", lines))
        again = {file.head for file in large if by_head[file.head, file.size_bytes] is not file}
        return {file: None for file in large if file.head not in known | again}

    def _ask(self, answered: str, lines: list[str]) -> list[str]:
        client = self._volume._client()
        found: list[str] = []
        for begin in range(0, len(lines), _LINES):
            question = "\n".join(lines[begin : begin + _LINES]).encode()
            found += client.send_bytes("POST", self._volume._path("needs"), question)[answered]
        return found

    def _send_batch(self, files: list[_File]) -> int:
        parts: list[bytes] = []
        for file in files:
            with open(file.local, "rb") as source:
                data = source.read(CHUNK_BYTES)
            parts += [len(data).to_bytes(4, "little"), data]
        self._volume._client().send_bytes("PUT", "/api/v1/files", *parts)
        return sum(file.size_bytes for file in files)

    def _send_large(self, file: _File) -> Iterator[int]:
        client = self._volume._client()
        path = f"/api/v1/files/{file.id}"
        query = encode_query({"size_bytes": file.size_bytes})
        missing = client.send_bytes("PUT", path + query, file.digests)["missing"]
        have = file.size_bytes - sum(_chunk_size(file, index) for index in missing)
        if have:
            yield have

        yield from _parallel(partial(self._send_chunk, file, path), missing)

    def _send_new(self, file: _File) -> Iterator[int]:
        """As a draft. Who puts the same at once may end it first: then as any other."""
        try:
            yield from self._send_draft(file)
        except ConflictError:
            if _has_changed(file):
                raise _changed(file) from None
            _hash_large(file)
            for one in self._needed([file]):
                yield from self._send_large(one)

    def _send_draft(self, file: _File) -> Iterator[int]:
        client = self._volume._client()
        path = f"/api/v1/drafts/{self._draft_name(file)}"
        query = encode_query({"size_bytes": file.size_bytes})
        chunks = client.send_bytes("PUT", path + query)["chunks"]

        def sent(index: int) -> int:
            if chunks[index] is None or chunks[index] != _chunk_digest(file, index).hex():
                return self._send_chunk(file, path, index)
            return _chunk_size(file, index)

        yield from _parallel(sent, range(len(chunks)))
        if _has_changed(file):
            raise _changed(file)
        file.id = client.send_bytes("POST", path + "/finish")["id"]

    def _draft_name(self, file: _File) -> str:
        """The same for the same unchanged file, and known to nobody without the key."""
        import hmac

        who = (os.uname().nodename, os.path.abspath(file.local), *file.state, file.head)
        key = self._volume._client().config.key.encode()
        return hmac.digest(key, repr(who).encode("utf-8", "surrogateescape"), "sha256").hex()

    def _send_chunk(self, file: _File, path: str, index: int) -> int:
        size = _chunk_size(file, index)
        with open(file.local, "rb", buffering=0) as source:
            part = FilePart(source.fileno(), index * CHUNK_BYTES, size)
            try:
                self._volume._client().send_file(f"{path}/chunks/{index}", part)
            except EOFError:
                raise _changed(file) from None
        return size


def leads_outside(path: str, target: str) -> bool:
    """Whether a link at a path of a tree leads out of that tree."""
    if os.path.isabs(target):
        return True
    end = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return end == ".." or end.startswith("../")


def _state(status: os.stat_result) -> tuple[int, ...]:
    """What changes when the file does."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _has_changed(file: _File) -> bool:
    return _state(os.stat(file.local)) != file.state


def _changed(file: _File) -> ConflictError:
    return ConflictError(f"{file.local} has changed while it was read; put it again")


def _chunk_size(file: _File, index: int) -> int:
    return min(CHUNK_BYTES, file.size_bytes - index * CHUNK_BYTES)


def _hash(files: list[_File]) -> None:
    for file in files:
        with open(file.local, "rb", buffering=0) as source:
            digests: list[bytes] = []
            size = 0
            while chunk := _read_chunk(source):
                digests.append(hashlib.sha256(chunk).digest())
                size += len(chunk)
        file.size_bytes = size
        file.digests = b"".join(digests)
        file.id = hashlib.sha256(file.digests).hexdigest()


def _hash_large(file: _File) -> None:
    """The same for a file of several chunks, which are hashed side by side."""
    from concurrent.futures import ThreadPoolExecutor

    count = -(-file.size_bytes // CHUNK_BYTES)
    with ThreadPoolExecutor(_THREADS, "ember-hash") as pool:
        file.digests = b"".join(pool.map(partial(_chunk_digest, file), range(count)))
    file.id = hashlib.sha256(file.digests).hexdigest()


def _hash_head(file: _File) -> None:
    file.head = _chunk_digest(file, 0).hex()


def _chunk_digest(file: _File, index: int) -> bytes:
    buffer = bytearray(_READ_BYTES)
    digest = hashlib.sha256()
    with open(file.local, "rb", buffering=0) as source:
        source.seek(index * CHUNK_BYTES)
        left = _chunk_size(file, index)
        while left and (got := source.readinto(memoryview(buffer)[:left])):
            digest.update(memoryview(buffer)[:got])
            left -= got
    return digest.digest()


def _read_chunk(source: Any) -> bytes:
    chunk = source.read(CHUNK_BYTES)
    while len(chunk) < CHUNK_BYTES and (more := source.read(CHUNK_BYTES - len(chunk))):
        chunk += more
    return chunk


def _groups(files: list[_File]) -> list[list[_File]]:
    return [files[begin : begin + 200] for begin in range(0, len(files), 200)]


def _batches(files: list[_File]) -> Iterator[list[_File]]:
    batch: list[_File] = []
    size = 0
    for file in files:
        if batch and (size + file.size_bytes > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size_bytes
    if batch:
        yield batch


def _parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results as they come, a few at work at once and no more waiting than that."""
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(_THREADS, "ember-put") as pool:
        running = set()
        try:
            for item in items:
                running.add(pool.submit(work, item))
                if len(running) >= 2 * _THREADS:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield one.result()
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        finally:
            for one in running:
                one.cancel()
