"""Waiting for files and processes by the kernel's events, not by looking again and again."""

from __future__ import annotations

import ctypes
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x8, 0x80, 0x100
_EVENTS = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE


class Watch:
    """Wakes when something changes in one of some directories or a process ends.

    A directory may come into being while it is waited for, if its parent is watched too.
    """

    def __init__(self, directories: list[str], pid: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._unwatched = directories
        self._pidfd = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self._inotify, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._inotify)
        os.close(self._pidfd)

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> str:
        """Return ``ready``, ``ended`` when the process did so first, or ``late``."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._add_watches()
            if ready():
                return "ready"
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return "late"
            fired = [descriptor for descriptor, _ in self._poll.poll(left_s * 1000)]
            if self._pidfd in fired:
                return "ended"
            if self._inotify in fired:
                os.read(self._inotify, 1 << 16)

    def _add_watches(self) -> None:
        self._unwatched = [path for path in self._unwatched if not self._add(path)]

    def _add(self, path: str) -> bool:
        return self._libc.inotify_add_watch(self._inotify, os.fsencode(path), _EVENTS) >= 0
