"""``ember volume``: makes volumes, looks into them, moves files in and out of them."""

from __future__ import annotations

import os
import sys
import time

from ember._client import shared, volume_path
from ember._volume import Volume

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_REDRAW_S = 0.1


class _Bar:
    """How far a transfer is, on one line of a terminal; nothing elsewhere."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._began_s = time.monotonic()
        self._drawn_s = 0.0
        self._shown = _terminal.is_terminal(sys.stderr)

    def __call__(self, done: int, total: int) -> None:
        """Draw it, now and then."""
        now_s = time.monotonic()
        if not self._shown or (now_s - self._drawn_s < _REDRAW_S and done < total):
            return
        self._drawn_s = now_s
        elapsed_s = max(now_s - self._began_s, 1e-3)
        text = f"{self._verb} {_terminal.size(done)} of {_terminal.size(total)}"
        text += f", {_terminal.size(round(done / elapsed_s))}/s"
        sys.stderr.write(f"\r\x1b[K{_terminal.cut(text, _terminal.width() - 1)}")
        sys.stderr.flush()

    def end(self) -> float:
        """Clear the line; how long it took."""
        if self._drawn_s:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        return time.monotonic() - self._began_s


def create(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume create``."""
    options = _parsed(prog, summary, argv, ("name", "1 to 63 of letters, digits, '.', '_', '-'"))
    volume = shared().post_json("/api/v1/volumes", {"name": options.name})
    if options.json:
        _terminal.document(volume)
        return _exit.OK
    _terminal.say(f"{volume['name']} ({volume['volume_id']}) is there, and empty")
    _terminal.say(f"next: ember volume put {volume['name']} LOCAL")
    return _exit.OK


def list_volumes(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume list``."""
    options = _parsed(prog, summary, argv)
    document = shared().get_json("/api/v1/volumes")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "volume": volume["name"],
            "version": volume["version"],
            "files": volume["files"],
            "size": _terminal.size(volume["bytes"]),
            "changed": _terminal.ago(volume["updated_ms"]),
        }
        for volume in document["volumes"]
    ]
    _terminal.table(
        rows, ["volume", "version", "files", "size", "changed"],
        right=["version", "files", "size"], cut_column="volume",
        empty="no volumes; next: ember volume create NAME",
    )  # fmt: skip
    return _exit.OK


def list_files(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume ls``."""
    parser = _parser(prog, summary)
    parser.add_argument("path", nargs="?", default="/", help="of a directory (default: all)")
    parser.add_argument("-r", "--recursive", action="store_true", help="all that lies below too")
    _add_version(parser)
    options = parser.parse_args(argv)
    volume = Volume.from_name(options.name)
    entries = volume.entries(
        options.path, recursive=options.recursive, version=options.version
    )  # fmt: skip
    if options.json:
        _terminal.document({"entries": list(entries)})
        return _exit.OK
    for entry in entries:
        mark = "/" if entry["type"] == "directory" else ""
        if entry["type"] == "link":
            mark = f" -> {entry['target']}"
        size = _terminal.size(entry["size_bytes"]) if entry["type"] == "file" else ""
        path = _terminal.harmless(entry["path"] + mark, sys.stdout)
        _terminal.data(f"{size:>10}  {path}")
    return _exit.OK


def put(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume put``."""
    parser = _parser(prog, summary)
    parser.add_argument("local", help="a file, or a directory whose content is put")
    parser.add_argument(
        "remote", nargs="?", default="/", help="where to: a path, or a directory that ends with /"
    )
    options = parser.parse_args(argv)
    from ember._volume_upload import Upload

    upload = Upload(Volume.from_name(options.name))
    if os.path.isdir(options.local):
        upload.put_directory(options.local, options.remote)
    elif os.path.exists(options.local):
        upload.put_file(options.local, options.remote)
    else:
        raise usage_error(f"there is no file {options.local}", next_step=f"{prog} --help")
    bar = _Bar("put")
    try:
        version = upload.commit(bar)
    finally:
        took_s = bar.end()
    _tell_left_out(upload.left_out)
    if options.json:
        _terminal.document(
            {
                "version": version, "changed": upload.changed, "files": upload.files,
                "bytes": upload.size_bytes, "bytes_sent": upload.bytes_sent,
                "left_out": upload.left_out,
            }
        )  # fmt: skip
        return _exit.OK
    what = f"{_files(upload.files)}, {_terminal.size(upload.size_bytes)}"
    sent = f"{_terminal.size(upload.bytes_sent)} of it new here"
    if upload.changed:
        _terminal.tick(f"version {version} of {options.name}: {what}, {sent}", took_s)
    else:
        _terminal.tick(f"version {version} of {options.name} has it all: {what}", took_s)
    return _exit.OK


def get(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume get``."""
    parser = _parser(prog, summary)
    parser.add_argument("remote", nargs="?", default="/", help="a file or a directory")
    parser.add_argument("local", nargs="?", help="where to (default: its name here); - is stdout")
    _add_version(parser)
    options = parser.parse_args(argv)
    from ember._volume_download import Download

    volume = Volume.from_name(options.name)
    version = options.version or volume.info()["version"] or None
    remote = options.remote.strip("/")
    name = os.path.basename(remote) or options.name
    is_file = bool(remote) and _is_file(volume, remote, version)
    if options.local == "-":
        if not is_file:
            raise usage_error(f"{remote or '/'} is a directory", next_step=f"{prog} --help")
        return _to_stdout(volume, remote, version)
    local = options.local or name
    if is_file and (local.endswith("/") or os.path.isdir(local)):
        local = os.path.join(local, name)
    download = Download(volume, version)
    bar = _Bar("got")
    try:
        (download.get_file if is_file else download.get_directory)(remote, local, bar)
    finally:
        took_s = bar.end()
    _tell_left_out(download.left_out)
    if options.json:
        _terminal.document(
            {
                "version": version, "local": local, "files": download.files,
                "bytes": download.size_bytes, "left_out": download.left_out,
            }
        )  # fmt: skip
        return _exit.OK
    _terminal.tick(
        f"{local}: {_files(download.files)}, {_terminal.size(download.size_bytes)}", took_s
    )
    return _exit.OK


def copy(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume cp``."""
    parser = _parser(prog, summary)
    parser.add_argument("sources", nargs="+", metavar="from", help="files or directories in it")
    parser.add_argument("to", help="where to, in the same volume")
    options = parser.parse_args(argv)
    version = Volume.from_name(options.name).copy_files(options.sources, options.to)
    return _changed(options, version)


def move(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume mv``."""
    parser = _parser(prog, summary)
    parser.add_argument("source", metavar="from", help="a file or a directory in it")
    parser.add_argument("to", help="where to, in the same volume")
    options = parser.parse_args(argv)
    return _changed(options, Volume.from_name(options.name).rename(options.source, options.to))


def remove(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume rm``."""
    parser = _parser(prog, summary)
    parser.add_argument("path", help="a file or a directory in it")
    parser.add_argument("-r", "--recursive", action="store_true", help="directories, with all")
    options = parser.parse_args(argv)
    volume = Volume.from_name(options.name)
    return _changed(options, volume.remove_file(options.path, recursive=options.recursive))


def history(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume history``."""
    options = _parsed(prog, summary, argv, ("name", "of the volume"))
    versions = Volume.from_name(options.name).history()
    if options.json:
        _terminal.document({"versions": versions})
        return _exit.OK
    rows = [
        {
            "version": f"{version['version']}{' *' if version['current'] else ''}",
            "made": _terminal.ago(version["created_ms"]),
            "files": version["files"],
            "size": _terminal.size(version["bytes"]),
            "by": version["message"],
        }
        for version in reversed(versions)
    ]
    _terminal.table(
        rows, ["version", "made", "files", "size", "by"],
        right=["files", "size"], cut_column="by", empty=f"nothing was put into {options.name} yet",
    )  # fmt: skip
    return _exit.OK


def rollback(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume rollback``."""
    parser = _parser(prog, summary)
    parser.add_argument("version", nargs="?", type=int, help="which (default: the one before)")
    options = parser.parse_args(argv)
    return _changed(options, Volume.from_name(options.name).rollback(options.version))


def delete(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember volume delete``."""
    options = _parsed(prog, summary, argv, ("name", "of the volume"))
    deleted = shared().post_json(volume_path(options.name, "delete"))
    if options.json:
        _terminal.document(deleted)
    else:
        _terminal.say(f"{deleted['name']} ({deleted['volume_id']}) is gone, with its history")
    return _exit.OK


def _parser(prog: str, summary: str) -> Parser:
    parser = Parser(prog, summary)
    parser.add_argument("name", help="of the volume")
    parser.add_json()
    return parser


def _parsed(
    prog: str, summary: str, argv: list[str], *arguments: tuple[str, str]
) -> argparse.Namespace:
    parser = Parser(prog, summary)
    for name, text in arguments:
        parser.add_argument(name, help=text)
    parser.add_json()
    return parser.parse_args(argv)


def _add_version(parser: Parser) -> None:
    parser.add_argument("--version", type=int, metavar="N", help="of that one (default: newest)")


def _changed(options: argparse.Namespace, version: int) -> int:
    if options.json:
        _terminal.document({"version": version})
    else:
        _terminal.say(f"version {version} of {options.name}")
    return _exit.OK


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _tell_left_out(left_out: list[str]) -> None:
    for line in left_out[:10]:
        _terminal.say(f"left out: {_terminal.harmless(line, sys.stderr)}")
    if len(left_out) > 10:
        _terminal.say(f"left out: {len(left_out) - 10} more")


def _is_file(volume: Volume, remote: str, version: int | None) -> bool:
    entry: dict[str, Any] = next(volume.entries(remote, version=version), {})
    return entry.get("path") == remote and entry.get("type") == "file"


def _to_stdout(volume: Volume, remote: str, version: int | None) -> int:
    offset = 0
    _terminal.flush()
    while piece := volume.read_range(remote, offset, version=version):
        sys.stdout.buffer.write(piece)
        offset += len(piece)
    sys.stdout.buffer.flush()
    return _exit.OK
