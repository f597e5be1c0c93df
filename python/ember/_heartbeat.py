"""Heartbeats: what the server gives up by itself once nobody asks for it any more."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from ember.exception import EmberError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EVERY_S = 10.0  # the server waits for thirty


@contextmanager
def beating(beat: Callable[[], object]) -> Iterator[None]:
    """Tells the server now and then, for the length of the block, that it is still in use."""
    ended = threading.Event()
    threading.Thread(target=_beat, args=(beat, ended), name="ember-heartbeat", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _beat(beat: Callable[[], object], ended: threading.Event) -> None:
    while not ended.wait(_EVERY_S):
        try:
            beat()
        except EmberError:
            continue  # a server that restarts; if it stays away, the next use will tell
