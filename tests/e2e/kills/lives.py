"""A witness of the containers' lives, beside the accounts that Ember keeps.

Run in the node's directory of containers, it looks as the kernel tells of changes there, and at the
processes: for each container one line of JSON with what the node wrote when it began, when its first
process was born and died by the kernel's word, and what the node wrote when it ended. The node's
words are gone once the server has them, so this is a process of its own, which nothing delays.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MOVED_TO, _IN_CREATE, _IN_CLOSE_WRITE = 0x80, 0x100, 0x8
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass
class Life:
    """What was seen of one container; zero is what was not."""

    container: str
    started_us: int = 0  # as the node wrote it before it started anything
    pid: int = 0
    process_began_us: int = 0  # by the kernel, to its tick
    process_ended_us: int = 0  # when the kernel told of it
    ended_us: int = 0  # as the node wrote it
    egress_bytes: int = 0
    cpu_millicores: int = 0
    devices: int = 0


class Lives:
    """The witness at work, and what it has told."""

    def __init__(self, data: Path) -> None:
        containers = data / "node" / "containers"
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=containers,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> dict[str, Life]:
        """Ends it; the lives by container."""
        told, _ = self._process.communicate()
        lives = (Life(**json.loads(line)) for line in told.splitlines())
        return {life.container: life for life in lives}

    def __enter__(self) -> Lives:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _boot_us() -> int:
    return time.time_ns() // 1000 - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class _Witness:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._inotify, select.POLLIN)
        self._poll.register(sys.stdin, select.POLLIN)
        self._lives: dict[str, Life] = {}
        self._pidfds: dict[int, Life] = {}

    def run(self) -> Iterator[Life]:
        """Looks until its input ends; then every life that it saw."""
        self._watch(self._directory)
        while True:
            self._look()
            fired = {descriptor for descriptor, _ in self._poll.poll()}
            now_us = time.time_ns() // 1000
            for pidfd in fired & self._pidfds.keys():
                self._pidfds.pop(pidfd).process_ended_us = now_us
                self._poll.unregister(pidfd)
                os.close(pidfd)
            if self._inotify in fired:
                os.read(self._inotify, 1 << 16)
            if sys.stdin.fileno() in fired:
                self._look()
                yield from self._lives.values()
                return

    def _watch(self, path: Path) -> None:
        events = _IN_MOVED_TO | _IN_CREATE | _IN_CLOSE_WRITE
        self._libc.inotify_add_watch(self._inotify, os.fsencode(path), events)

    def _look(self) -> None:
        for entry in list(os.scandir(self._directory)):
            if entry.name not in self._lives:
                self._watch(Path(entry.path))
                self._lives[entry.name] = Life(entry.name)
            life = self._lives[entry.name]
            if not life.ended_us:
                self._read(Path(entry.path), life)

    def _read(self, path: Path, life: Life) -> None:
        with contextlib.suppress(OSError):
            if not life.cpu_millicores:
                told = json.loads((path / "meta.json").read_bytes())
                life.started_us, life.cpu_millicores = told["started_us"], told["cpu_millicores"]
                life.devices = len(told["devices"])
        with contextlib.suppress(OSError):
            if not life.pid and (text := (path / "pid").read_text().split()):
                self._meet(int(text[0]), life)
        with contextlib.suppress(OSError):
            told = json.loads((path / "exit.json").read_bytes())
            life.ended_us, life.egress_bytes = told["at_us"], told["egress_bytes"]

    def _meet(self, pid: int, life: Life) -> None:
        life.pid = pid
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            life.process_began_us = _boot_us() + int(fields[19]) * TICK_US
            self._pidfds[pidfd] = life
            self._poll.register(pidfd, select.POLLIN)


if __name__ == "__main__":
    os.nice(-10)
    for seen in _Witness(Path()).run():
        print(json.dumps(asdict(seen)))
