"""Volumes: named, versioned file trees that functions mount.

A handle talks to no server until it is used. In a container the files are where the volume is
mounted; `commit` publishes what was written there and `reload` moves to the newest version. Outside
of one the other methods read and change the volume over HTTP. Methods that answer at once have
a twin for async code, `await volume.commit.aio()`; those that yield have none.
"""

from __future__ import annotations

from contextlib import contextmanager

from ember import _context
from ember._aio import blocking
from ember._settings import check_name
from ember.exception import ConflictError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ember._client import Client
    from ember._volume_upload import Upload

_RANGE_BYTES = 8 << 20


class FileEntry:
    """One entry of a listing. `kind` is "file", "directory" or "link"."""

    __slots__ = ("kind", "modified_s", "path", "size_bytes")

    def __init__(self, entry: dict[str, Any]) -> None:
        self.path: str = entry["path"]
        self.kind: str = entry["type"]
        self.size_bytes: int = entry.get("size_bytes", 0)
        self.modified_s: float = entry.get("modified_ms", 0) / 1000

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path}, {self.size_bytes} bytes>"


class Volume:
    """A handle to a volume. Make one with `Volume.from_name` or `Volume.ephemeral`."""

    def __init__(
        self,
        name: str,
        *,
        version: int | None = None,
        create_if_missing: bool = False,
        read_only: bool = False,
        sub_path: str | None = None,
    ) -> None:
        self.name = check_name("volume", name)
        if version is not None and (isinstance(version, bool) or version < 1):
            raise InvalidArgumentError(f"version: {version!r} is not a number from 1")
        if version is not None and create_if_missing:
            raise InvalidArgumentError("create_if_missing: a volume of a given version exists")
        self.version = version
        self.create_if_missing = create_if_missing
        self.is_read_only = read_only
        self.sub_path = _inside(sub_path or "")
        self._made = False

    @classmethod
    def from_name(
        cls, name: str, *, create_if_missing: bool = False, version: int | None = None
    ) -> Volume:
        """A volume by its name. With a version: that one, whatever is committed later."""
        return cls(name, create_if_missing=create_if_missing, version=version)

    @classmethod
    @contextmanager
    def ephemeral(cls) -> Iterator[Volume]:
        """A new volume for the length of a `with` block; it goes with this process."""
        import secrets

        from ember import _client
        from ember._heartbeat import beating

        client = _client.shared()
        name = f"ephemeral-{secrets.token_hex(6)}"
        client.post_json("/api/v1/volumes", {"name": name, "ephemeral": True})
        try:
            with beating(lambda: client.post_json(_client.volume_path(name, "heartbeat"))):
                yield cls(name)
        finally:
            client.post_json(_client.volume_path(name, "delete"))

    def with_mount_options(
        self, *, read_only: bool | None = None, sub_path: str | None = None
    ) -> Volume:
        """The same volume, mounted in another way: read-only, or one directory of it."""
        return Volume(
            self.name,
            version=self.version,
            create_if_missing=self.create_if_missing,
            read_only=self.is_read_only if read_only is None else read_only,
            sub_path=self.sub_path if sub_path is None else sub_path,
        )

    def read_only(self) -> Volume:
        """The same volume, mounted so that nothing can be written."""
        return self.with_mount_options(read_only=True)

    # --- in a container ---

    @blocking
    def commit(self) -> int:
        """Publishes what this container has written to the volume; the newest version's number."""
        return self._in_container("commit")

    @blocking
    def reload(self) -> int:
        """Shows the newest version, after a commit of what was written; its number.

        Refused with ConflictError while files of the volume are open here.
        """
        return self._in_container("reload")

    def _in_container(self, action: str) -> int:
        if not _context.in_container:
            raise InvalidArgumentError(
                f"{action}: outside a container nothing is mounted; use batch_upload(), listdir()"
            )
        from ember.runner import _calls

        return _calls.volume(action, self.name)

    # --- over HTTP ---

    @blocking
    def listdir(self, path: str = "/", *, recursive: bool = False) -> list[FileEntry]:
        """What a directory holds, by name."""
        return list(self.iterdir(path, recursive=recursive))

    def iterdir(self, path: str = "/", *, recursive: bool = False) -> Iterator[FileEntry]:
        """The same, page by page as it is needed."""
        for entry in self.entries(path, recursive=recursive):
            yield FileEntry(entry)

    def entries(
        self, path: str = "/", *, recursive: bool = False, version: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The documents of a listing, all of one version."""
        client, after = self._client(), None
        version = version or self.version
        while True:
            page = client.get_json(
                self._path("tree"), path=_inside(path) or None, version=version,
                recursive=recursive or None, after=after, limit=5000,
            )  # fmt: skip
            version = page["version"] or None
            yield from page["entries"]
            if not page["more"]:
                return
            after = page["entries"][-1]["path"]

    def read_file(self, path: str) -> Iterator[bytes]:
        """A file's bytes, piece by piece; of the version that is the newest when it begins."""
        version = self.version or self.info()["version"]
        offset = 0
        while True:
            piece = self.read_range(path, offset, version=version)
            if piece:
                yield piece
            if len(piece) < _RANGE_BYTES:
                return
            offset += len(piece)

    def read_range(self, path: str, offset: int, *, version: int | None) -> bytes:
        """At most 8 MiB of a file."""
        return self._client().get_bytes(
            self._path("file"), path=_inside(path), version=version, offset=offset
        )

    @contextmanager
    def batch_upload(self) -> Iterator[Upload]:
        """Puts files in one new version, as the block ends: `batch.put_file(local, remote)`."""
        from ember._volume_upload import Upload

        upload = Upload(self)
        yield upload
        upload.commit()

    @blocking
    def remove_file(self, path: str, *, recursive: bool = False) -> int:
        """Removes a file, or a directory with all that is in it; the new version's number."""
        return self.change([{"remove": _inside(path), "recursive": recursive}], "rm")

    @blocking
    def copy_files(self, sources: Sequence[str], destination: str) -> int:
        """Copies files and directories, as cp -r does; no byte is copied. The version's number."""
        to = _destination(destination, several=len(sources) > 1)
        return self.change([{"copy": _inside(source), "to": to} for source in sources], "cp")

    @blocking
    def rename(self, source: str, destination: str) -> int:
        """Moves a file or a directory, as mv does; the new version's number."""
        return self.change([{"move": _inside(source), "to": _destination(destination)}], "mv")

    def change(self, changes: list[dict[str, Any]], message: str) -> int:
        """Makes changes (docs/reference/http.md) as one new version; its number."""
        from ember import _json

        self._refuse_version(message)
        lines = [{"message": message}, *changes]
        body = "\n".join(_json.dumps(line) for line in lines).encode()
        return self._client().send_bytes("POST", self._path("commit"), body)["version"]

    @blocking
    def info(self) -> dict[str, Any]:
        """The volume's document: its newest version, files and bytes."""
        return self._client().get_json(self._path())

    @blocking
    def history(self) -> list[dict[str, Any]]:
        """Its versions, the oldest first."""
        return self._client().get_json(self._path("history"))["versions"]

    @blocking
    def rollback(self, version: int | None = None) -> int:
        """Makes a new version of an earlier one (by default the one before); its number."""
        body = {} if version is None else {"version": version}
        return self._client().post_json(self._path("rollback"), body)["version"]

    def ensure(self, client: Client) -> None:
        """Makes the volume, if that was asked for and it isn't there."""
        if self.create_if_missing and not self._made:
            client.post_json("/api/v1/volumes", {"name": self.name, "may_exist": True})
            self._made = True

    def _refuse_version(self, what: str) -> None:
        if self.version is not None:
            raise ConflictError(
                f"{what}: version {self.version} of {self.name} stays as it is; "
                "take the volume without a version"
            )

    def _client(self) -> Client:
        if _context.in_container:
            raise InvalidArgumentError(
                f"in a container the files of {self.name} are where the volume is mounted: "
                "use open(), os and pathlib there, and commit()"
            )
        from ember import _client

        client = _client.shared()
        self.ensure(client)
        return client

    def _path(self, verb: str = "") -> str:
        from ember import _client

        return _client.volume_path(self.name, verb)

    def __repr__(self) -> str:
        return f"<ember.Volume {self.name}>"


def mount_specs(volumes: object) -> tuple[list[dict[str, Any]] | None, list[Volume]]:
    """The field `volumes` of a deploy, and the handles, of `{"/data": volume}`."""
    if volumes is None:
        return None, []
    if not hasattr(volumes, "items"):
        raise InvalidArgumentError(
            f'volumes: expected {{"/data": volume}}, got {type(volumes).__name__}'
        )
    specs, handles = [], []
    for path, volume in volumes.items():  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(path, str) or not path.startswith("/"):
            raise InvalidArgumentError(f"volumes: {path!r} is not an absolute path such as /data")
        if not isinstance(volume, Volume):
            raise InvalidArgumentError(
                f"volumes: {path}: expected an ember.Volume, got {type(volume).__name__}"
            )
        if volume.name in (handle.name for handle in handles):
            raise InvalidArgumentError(f"volumes: {volume.name} is mounted twice; once is enough")
        handles.append(volume)
        specs.append(
            {
                "path": path.rstrip("/"),
                "name": volume.name,
                "version": volume.version or 0,
                "read_only": volume.is_read_only,
                "sub_path": volume.sub_path,
            }
        )
    return specs, handles


def _inside(path: str) -> str:
    """A path as the API takes it: relative to the root of the volume."""
    return path.strip("/")


def _destination(path: str, *, several: bool = False) -> str:
    """The same, with a slash at its end where it must be a directory."""
    inside = _inside(path)
    return f"{inside}/" if inside and (several or path.endswith("/")) else inside
