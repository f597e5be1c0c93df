"""The machine's processes as the kernel lists them, and their ends by signals.

What a process does not tell, since it has gone, is a zombie or the kernel's own, reads as empty.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_END_LIMIT_S = 60.0


@dataclass
class Process:
    """One process: how it was started, and with what."""

    pid: int
    words: list[str]
    environment: dict[str, str]

    @property
    def program(self) -> str:
        return self.words[0] if self.words else ""

    def bears(self, mark: str) -> bool:
        """Whether a value that it inherited begins with the mark."""
        return any(value.startswith(mark) for value in self.environment.values())


def running() -> Iterator[Process]:
    """Every process that there is, this one too."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            entries = _strings_of(f"/proc/{name}/environ")
            environment = {key: value for key, _, value in (e.partition("=") for e in entries)}
            yield Process(int(name), _strings_of(f"/proc/{name}/cmdline"), environment)


def read_text(path: Path | str) -> str:
    """A file of the kernel's, or one that may have gone; then it is empty."""
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _strings_of(path: str) -> list[str]:
    text = read_text(path)
    return text.removesuffix("\0").split("\0") if text else []


def end_of(pid: int, number: signal.Signals) -> Callable[[], bool]:
    """Signals a process; what is returned waits for its end, and tells whether it came."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, number)

    def wait() -> bool:
        ended = bool(select.select([descriptor], [], [], _END_LIMIT_S)[0])
        os.close(descriptor)
        return ended

    return wait


def end_at_once(pids: Iterable[int]) -> int:
    """kill -9 of processes, all before any is waited for; how many of them were there."""
    waits: list[Callable[[], bool]] = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            waits.append(end_of(pid, signal.SIGKILL))
    for wait in waits:
        assert wait(), f"still there {_END_LIMIT_S:.0f} s after kill -9"
    return len(waits)
