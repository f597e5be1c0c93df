"""Who may start or stop the processes of a data directory: one `ember up`, or some `ember down`.

Those that stop share the lock, so that `ember down --now` can hurry another that waits for calls.
The lock goes with the process that holds it.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager

from . import _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._server import Server


@contextmanager
def alone_on(server: Server) -> Iterator[None]:
    """Keep all others from starting and stopping; say whom this had to wait for."""
    with open(server.lock_path, "a") as file:
        if not _is_taken(file.fileno(), fcntl.LOCK_EX):
            if _is_taken(file.fileno(), fcntl.LOCK_SH):
                what = "Ember is stopping on {}; waiting for its end (ember down --now hurries it)"
            else:
                what = "another `ember up` is at work on {}; waiting for it"
            _terminal.say(what.format(server.data))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def stopping_on(server: Server) -> Iterator[None]:
    """Keep others from starting."""
    with open(server.lock_path, "a") as file:
        if not _is_taken(file.fileno(), fcntl.LOCK_SH):
            _terminal.say(f"an `ember up` is at work on {server.data}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _is_taken(descriptor: int, kind: int) -> bool:
    """Take the lock, unless that means to wait; whether it was."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
