"""Secrets, on their way from the server into the environment or into files in memory.

They come by the socket, before the user's module is loaded, and are asked for again where the
server goes away meanwhile.
"""

from __future__ import annotations

import os
import struct

from ember.runner import _frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.runner._frames import Link

DIRECTORY = "/run/secrets"  # in containers; where there is none it lies in the home directory
_IN_CONTAINER = "/ember/run"
_LENGTH = struct.Struct("<I")
_SHORT = struct.Struct("<H")


def receive(link: Link, hello: bytes) -> bool:
    """Waits for the secrets and puts them where they belong; False if no input will follow."""
    while True:
        try:
            received = link.next_frame()
            while received is None:
                link.receive()
                received = link.next_frame()
        except _frames.ConnectionLost:
            link.connect(hello)
            continue
        kind, format, _, _, _, begin, end = received
        if kind == _frames.SECRETS:
            body = link.body(format, begin, end)
            try:
                _install(body)
            finally:
                body[:] = bytes(len(body))  # the buffer lives on
            return True
        if kind == _frames.STOP:
            return False
        if kind == _frames.PING:
            try:
                link.send(_frames.frame(_frames.PONG, _frames.NONE, 0, 0, b""))
            except _frames.ConnectionLost:
                continue  # found again by receiving
        elif kind not in (_frames.PONG, _frames.CANCEL):
            raise _frames.ProtocolError(f"a frame of type {kind} in the place of secrets")


def _install(body: memoryview) -> None:
    _forbid_cores()
    base = _base()
    os.environ["EMBER_SECRETS"] = base
    at = 0
    while at < len(body):
        mount, at = _text(body, at, _SHORT)
        size = _LENGTH.unpack_from(body, at)[0]
        at += _LENGTH.size
        pairs, end = [], at + size
        while at < end:
            key, at = _text(body, at, _LENGTH)
            value, at = _text(body, at, _LENGTH)
            pairs.append((key, value))
        if mount:
            _write(base + mount[len(DIRECTORY) :], pairs)
        else:
            os.environ.update(pairs)


def _text(body: memoryview, at: int, length: struct.Struct) -> tuple[str, int]:
    size = length.unpack_from(body, at)[0]
    at += length.size
    return str(body[at : at + size], "utf-8"), at + size


def _base() -> str:
    if os.environ.get("EMBER_RUN_DIR") == _IN_CONTAINER:
        return DIRECTORY
    return os.path.join(os.getcwd(), "secrets")


def _write(directory: str, pairs: list[tuple[str, str]]) -> None:
    """A file for each pair, for this user to read alone."""
    before = os.umask(0o077)
    try:
        os.makedirs(directory, exist_ok=True)
    finally:
        os.umask(before)
    for key, value in pairs:
        path = os.path.join(directory, key)
        try:
            os.unlink(path)  # of a secret that came before under the same mount
        except FileNotFoundError:
            pass
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(file, "w", encoding="utf-8", newline="") as out:
            out.write(value)


def _forbid_cores() -> None:
    """No core file, and none for a program that takes them: that knows no limit but 1."""
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:
        pass  # it is zero, and can't be raised
