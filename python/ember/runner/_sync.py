"""Sync functions, one input at a time: read, run, answer, all on the main thread.

While user code runs nobody reads the socket, with two exceptions. SIGUSR1 has the main thread look
for a Cancel. And user code that waits for a call of its own reads on, in whichever thread it is:
`_reading` belongs to the thread that reads, and one that stops reading wakes the next.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingImports]  # no enums
from _socket import MSG_DONTWAIT
from _thread import allocate_lock, get_ident
from time import monotonic

from ember.exception import InputCancelled
from ember.runner import _signals
from ember.runner._codec import decode_arguments, encode_item, error_body
from ember.runner._frames import (
    CANCEL,
    CHUNK,
    ERROR,
    FORMAT_MASK,
    HEADER,
    INPUT,
    JSON,
    METHOD_MASK,
    METHOD_SHIFT,
    ConnectionLost,
)
from ember.runner._logs import pending
from ember.runner._runner import Runner, Stopped, answer_of, enter
from ember.runner._streams import END, end_items, next_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._context import InputKey
    from ember.runner._batches import Batch
    from ember.runner._runner import Answer, Hook, Waiting
    from ember.runner._streams import Window

_HOLD_S = 0.001  # answers are held back at most so long while more input is at hand
_LARGE_BYTES = 64 << 10


class SyncRunner(Runner):
    """Runs inputs in the order in which they come."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._main = get_ident()
        self._answers: list[bytes] = []  # frames to send; the main thread's own
        self._held_since_s = 0.0
        self._running: InputKey | None = None
        self._armed: InputKey | None = None  # set while the main thread may be interrupted
        self._interrupted = False  # SIGUSR1 came when it might not
        self._cancelled: set[tuple[int, int]] = set()
        self._idle = False  # waiting for input: SIGTERM ends the process at once
        self._reading = allocate_lock()
        self._reading.acquire()  # by the main thread, but for when it runs user code
        self._lent = False  # user code runs, or ran just now: any thread may be reading
        self._backlog: list[Callable[[], None]] = []  # what waiting user code has read, to be run
        self._wakes: list[Callable[[], object]] = []  # of those who wait for an answer or to read
        self._main_wake: Callable[[], object] | None = None
        self._main_wants_to_read = False

    def run(self, ready: bytes) -> None:
        self.logs.outbox.try_send = self._try_send
        _signals.handle({signal.SIGUSR1: self._on_interrupt, signal.SIGTERM: self._on_terminate})
        while True:
            try:
                self.link.send(ready)
                self._serve()
            except ConnectionLost:
                self._reconnect()

    def call_hooks(self, hooks: list[Hook]) -> None:
        self._end_lending()
        self._lent = True
        self._reading.release()
        for hook in hooks:
            hook.handler()
        self._end_lending()

    def sole_input(self) -> InputKey | None:
        return self._running

    def send(self, data: bytes) -> None:
        if get_ident() != self._main:
            try:
                self.link.send(data)
            except ConnectionLost:
                pass  # found again, and mended, when the main thread next reads
            return
        armed, self._armed = self._armed, None  # a frame that is sent by half can't be mended
        try:
            self._answers.append(data)
            self._flush()
        finally:
            self._rearm(armed)

    def _try_send(self, data: bytes) -> bool:
        """Sends for a writer, who must not be interrupted with the socket locked."""
        if get_ident() != self._main:
            return self.link.try_send(data)
        armed, self._armed = self._armed, None
        try:
            return self.link.try_send(data)
        finally:
            self._rearm(armed)

    # --- the loop ---

    def _serve(self) -> None:
        link = self.link
        while True:
            while self._backlog:
                self._backlog.pop(0)()
            received = link.next_frame()
            if received is None:
                self._flush()
                self._receive()
                continue
            kind, format, attempt, stream, call_id, begin, end = received
            if kind == INPUT:
                body = link.body(format, begin, end)
                if self.coming is None:
                    self._run((stream, attempt, call_id), format, body)
                elif batch := self.gather((stream, attempt, call_id), format, body):
                    self._run_batch(batch)
            elif kind == CANCEL:
                self._cancelled.discard((stream, attempt))  # of what has run: too late
            else:
                self.handle(received)

    def _run(self, key: InputKey, format: int, body: Any) -> None:
        """Runs one input and holds its answer ready."""
        self._running = key
        kind, format, data = self._execute(key, format, body)
        if pending:
            self.logs.finish_input(key)
        if self._cancelled:
            self._cancelled.discard(key[:2])
        self._answers += (HEADER.pack(len(data), kind, format, key[1], key[0]), data)
        now_s = monotonic()
        if len(self._answers) == 2:
            self._held_since_s = now_s
        if now_s - self._held_since_s > _HOLD_S or len(data) > _LARGE_BYTES:
            self._flush()
        self._end_lending()

    def _run_batch(self, batch: Batch) -> None:
        """Runs the inputs of a batch together, and answers each."""
        key, entry = batch.key, self.function.entries[0]
        self._running = key
        try:
            arguments = batch.arguments(entry.plan)
            if arguments is not None:
                batch.settle(entry.name, self._call(key, 0, entry.handler, *arguments))
        except BaseException as error:
            batch.fail(error)
        self.logs.finish_input(key)
        self._cancelled.discard(key[:2])
        self._answers += batch.frames()
        self._flush()
        self._end_lending()

    def _end_lending(self) -> None:
        if self._lent:
            self._lent = False
            if not self._reading.acquire(False):
                self._take_reading_back()

    def _execute(self, key: InputKey, format: int, body: Any) -> Answer:
        try:
            entry = self.function.entries[format >> METHOD_SHIFT & METHOD_MASK]
            format &= FORMAT_MASK
            args, kwargs = decode_arguments(format, body, entry.plan)
            run = self._stream if entry.is_generator else self._call
            return answer_of(entry, format, run(key, format, entry.handler, args, kwargs))
        except BaseException as error:
            return ERROR, JSON, error_body(error)

    def _call(
        self, key: InputKey, _format: int, handler: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Runs user code: here, and in _stream(), may InputCancelled be raised."""
        self._lend()
        try:
            self._rearm(key)
            return self.function.base.copy().run(enter, key, handler, args, kwargs)
        finally:
            self._armed = None

    def _lend(self) -> None:
        """From here on another thread may read."""
        self._lent = True
        self._reading.release()
        if self._wakes:
            self._wake_others()  # a thread that an earlier input left may have to read now

    def _stream(
        self, key: InputKey, format: int, handler: Callable[..., Any], args: Any, kwargs: Any
    ) -> None:
        """Runs a generator, no further ahead of who reads its items than the window."""
        run = self.function.base.copy().run
        window = self.open_window(key)
        items: Any = None
        self._lend()
        try:
            self._rearm(key)
            items = iter(run(enter, key, handler, args, kwargs))
            while True:
                if not window.done:
                    self._wait_for_credit(window)
                window.check()
                item = run(next_item, items)
                if item is END:
                    return
                data = encode_item(format, item)
                self._armed = None  # an item that is sent by half can't be mended
                window.take(len(data))
                self._answers += (HEADER.pack(len(data), CHUNK, format, key[1], key[0]), data)
                self._flush()
                self._rearm(key)
        except BaseException as error:
            self._armed = None
            run(end_items, items, error)
            raise
        finally:
            self._armed = None
            self.close_window(key)

    def _wait_for_credit(self, window: Window) -> None:
        from queue import SimpleQueue

        woken: SimpleQueue[None] = SimpleQueue()
        window.wake = lambda: woken.put(None)
        self.wait(window, woken.get)
        window.wake = int

    def _flush(self) -> None:
        if not self._answers:
            return
        # What went to descriptors 1 and 2 precedes the answers, too.
        logs = self.logs.drain()
        answers, self._answers = logs + self._answers, []
        try:
            self.link.send(*answers)
        except ConnectionLost:
            self._backlog.clear()  # nobody waits for these any more
            for window in self._windows.values():
                window.lost()
        finally:
            if logs:
                self.logs.outbox.taken()

    def _receive(self) -> None:
        self._running = None
        self._idle = True
        try:
            if self.stopping:
                raise Stopped
            self.link.receive()
        finally:
            self._idle = False

    def _reconnect(self) -> None:
        self.fail_waiters()
        self._backlog.clear()
        self._answers.clear()
        self._cancelled.clear()
        self._idle = True
        self.link.connect(self.hello("ready", []))
        self._idle = False

    # --- signals ---

    def stop(self) -> None:
        self.stopping = True  # looked at before waiting for input

    def _on_terminate(self) -> None:
        self.stopping = True
        if self._idle:
            raise Stopped

    def _on_interrupt(self) -> None:
        self._interrupted = True
        if self._armed is not None:
            self._look_for_cancel(self._armed)
        elif self._main_wake is not None:
            self._main_wake()

    def _rearm(self, key: InputKey | None) -> None:
        self._armed = key
        if key is not None and (self._interrupted or self._cancelled):
            self._look_for_cancel(key)

    def _look_for_cancel(self, key: InputKey) -> None:
        """On the main thread, in user code: raises InputCancelled if the input was cancelled."""
        self._armed = None
        self._interrupted = False
        if self._reading.acquire(False):  # else the thread that reads will interrupt us again
            try:
                while self.link.receive(MSG_DONTWAIT):
                    pass
            except ConnectionLost:
                pass  # found again when the main thread next reads
            finally:
                self._cancelled.update(self.link.unread_cancels())
                self._reading.release()
        if key[:2] in self._cancelled:
            raise InputCancelled
        self._armed = key

    # --- reading while user code waits for a call of its own ---

    def wait(self, waiter: Waiting, sleep: Callable[[], object]) -> None:
        is_main = get_ident() == self._main
        armed, wake = self._armed, waiter.wake
        if is_main:
            self._armed, self._main_wake = None, wake
        self._wakes.append(wake)
        try:
            while not waiter.done:
                if is_main and armed and armed[:2] in self._cancelled:
                    break
                may_read = is_main or not self._main_wants_to_read
                if may_read and self._reading.acquire(False):
                    try:
                        self._read_for(waiter, is_main=is_main)
                    finally:
                        self._reading.release()
                    self._wake_others(wake)
                else:
                    sleep()
        finally:
            self._wakes.remove(wake)
            self._wake_others(wake)
            if is_main:
                self._main_wake = None
                self._rearm(armed)

    def _wake_others(self, but: Callable[[], object] | None = None) -> None:
        for wake in tuple(self._wakes):
            if wake is not but:
                wake()

    def _read_for(self, waiter: Waiting, *, is_main: bool) -> None:
        """Reads until the waiter is done, the input is cancelled or the main thread must read."""
        while not waiter.done and (is_main or not self._main_wants_to_read):
            received = self.link.next_frame()
            if received is None:
                try:
                    self.link.receive()
                except ConnectionLost:
                    self.fail_waiters()
                continue
            kind, format, attempt, stream, call_id, begin, end = received
            if kind == INPUT:
                body = self.link.body(format, begin, end)
                self._put_back((stream, attempt, call_id), format & 0x7F, body)
            elif kind == CANCEL:
                self._cancelled.add((stream, attempt))
                if is_main:
                    return
                signal.pthread_kill(self._main, signal.SIGUSR1)
            else:
                self.handle(received)

    def _put_back(self, key: InputKey, format: int, body: Any) -> None:
        """Keeps an input for when the main thread has time."""
        if self.coming is None:
            data = bytes(body)
            self._backlog.append(lambda: self._run(key, format, data))
        elif batch := self.gather(key, format, body):
            self._backlog.append(lambda: self._run_batch(batch))

    def _take_reading_back(self) -> None:
        """Waits, with nothing left to send, for the thread that reads to give it up."""
        from queue import SimpleQueue

        self._flush()
        woken: SimpleQueue[None] = SimpleQueue()

        def wake() -> None:
            woken.put(None)

        self._main_wants_to_read = True
        self._wakes.append(wake)
        self._idle = True
        try:
            while not self._reading.acquire(False):
                woken.get()
        finally:
            self._idle = False
            self._wakes.remove(wake)
            self._main_wants_to_read = False
