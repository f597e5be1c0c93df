"""Log frames on their way to the server, within what a container may log.

A text leaves at once where the socket takes it, so that a crash loses nothing. What the budget pays
for and the socket does not take waits, and is never dropped. What it can't pay for is kept back
until it can, the oldest giving way to the newest; a frame in the place of what gave way tells how
much that was. Nothing here ever waits for the server.
"""

from __future__ import annotations

import struct
from _collections import deque
from _thread import RLock
from time import monotonic

from ember.runner._frames import HEADER, LOG, NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember._context import InputKey
    from ember.runner._frames import Link

MAX_TEXT_BYTES = 31 << 10  # of one frame: a socket takes so much as a whole or not at all
_BURST_BYTES = 8 << 20  # half of what the server keeps of a container in files
_BYTES_PER_S = 1 << 20
_KEPT_BYTES = 256 << 10  # of the newest, while the budget is spent
_LEAST_BYTES = 128 << 10  # paid for together then, lest every few lines have a gap before them
_MAX_KEYS = 100  # inputs whose dropped lines are told apart
_NOBODY = (0, 0, 0)
_GAP = 0  # the stream of a text that says how many lines and bytes were dropped
_DROPPED = struct.Struct("<QQ")
_STREAM = (b"\0", b"\1", b"\2")


Text = tuple[int, "InputKey", bytes]  # the stream that it is of, the input that wrote it


class Outbox:
    """What user code writes, on its way. For any thread."""

    def __init__(self, link: Link) -> None:
        self.lock = RLock()  # a finaliser may print while its thread prints
        self.waiting: deque[Text] = deque()  # for the socket
        self.unpaid: deque[Text] = deque()
        self.on_wait: Callable[[], object] = int  # called when there is something to send later
        # For whoever writes: not the link's own where an exception from outside might split that.
        self.try_send: Callable[[bytes], bool] = link.try_send
        self._link = link
        self._waiting_bytes = self._unpaid_bytes = 0
        self._dropped: dict[InputKey, tuple[int, int]] = {}  # lines and bytes, before unpaid
        self._taken = 0  # batches on their way elsewhere, which nothing may overtake
        self._budget = _BURST_BYTES
        self._refilled_s = monotonic()

    def add(self, stream: int, key: InputKey, text: bytes) -> None:
        """Sends, or keeps for later, a text of at most MAX_TEXT_BYTES."""
        size = len(text)
        with self.lock:
            idle = not self.waiting and not self.unpaid
            if not self.unpaid and self._can_pay(size):
                self._budget -= size
                if idle and not self._taken and self.try_send(_frame(stream, key, text)):
                    return
                self._wait((stream, key, text))
            else:
                if not self.unpaid:
                    self._unpaid_bytes = 0  # an exception from outside may have split what follows
                self.unpaid.append((stream, key, text))
                self._unpaid_bytes += size
                if self._unpaid_bytes > _KEPT_BYTES:
                    self._drop()
            if idle:
                self.on_wait()

    def send(self) -> bool:
        """Sends what it can of what is kept; False where the socket was the obstacle."""
        with self.lock:
            self._pay()
            while self.waiting and not self._taken:
                text = self._pop()
                if not self._link.try_send(_frame(*text)):
                    self.waiting.appendleft(text)
                    self._waiting_bytes += len(text[2])
                    return False
        return True

    def take(self, *, all: bool = False) -> list[bytes]:
        """What is paid for, or all, as frames that the caller sends, and then calls taken()."""
        frames: list[bytes] = []
        with self.lock:
            if all:
                self._budget = self._unpaid_bytes
            self._pay()
            while self.waiting and not self._link.is_lost:
                frames.append(_frame(*self._pop()))
            self._taken += bool(frames)
        return frames

    def taken(self) -> None:
        """What take() gave, if it was something, is sent."""
        with self.lock:
            self._taken -= 1

    def _can_pay(self, size: int) -> bool:
        if self._budget < size:
            now_s = monotonic()
            earned = int((now_s - self._refilled_s) * _BYTES_PER_S)
            self._budget = min(self._budget + earned, _BURST_BYTES)
            self._refilled_s = now_s
        return size <= self._budget and size + self._waiting_bytes <= _BURST_BYTES

    def _pay(self) -> None:
        """Lets go as much as the budget pays for of what it could not pay for before."""
        while self.unpaid and self._can_pay(min(self._unpaid_bytes, _LEAST_BYTES)):
            for key, counts in self._dropped.items():
                self._wait((_GAP, key, _DROPPED.pack(*counts)))
            self._dropped.clear()
            while self.unpaid and self._can_pay(len(self.unpaid[0][2])):
                text = self.unpaid.popleft()
                self._unpaid_bytes -= len(text[2])
                self._budget -= len(text[2])
                self._wait(text)

    def _wait(self, text: Text) -> None:
        if not self.waiting:
            self._waiting_bytes = 0
        self.waiting.append(text)
        self._waiting_bytes += len(text[2])

    def _pop(self) -> Text:
        """The first of what waits, together with what fits into its frame."""
        stream, key, text = self.waiting.popleft()
        texts, size = [text], len(text)
        while self.waiting:
            next_stream, next_key, text = self.waiting[0]
            if next_stream != stream or next_key != key or size + len(text) > MAX_TEXT_BYTES:
                break
            self.waiting.popleft()
            texts.append(text)
            size += len(text)
        self._waiting_bytes -= size
        return stream, key, b"".join(texts)

    def _drop(self) -> None:
        while self.unpaid and self._unpaid_bytes > _KEPT_BYTES:
            _, key, text = self.unpaid.popleft()
            size = len(text)
            self._unpaid_bytes -= size
            if key not in self._dropped and len(self._dropped) >= _MAX_KEYS:
                key = _NOBODY
            lines, before = self._dropped.get(key, (0, 0))
            self._dropped[key] = lines + text.count(b"\n") + (text[-1:] != b"\n"), before + size


def _frame(stream: int, key: InputKey, text: bytes) -> bytes:
    return HEADER.pack(len(text) + 1, LOG, NONE, key[1], key[0]) + _STREAM[stream] + text
