"""Async functions: several inputs at a time on one event loop, on the main thread.

A Task for each input would cost more than most inputs do. Each coroutine is begun, in a context of
its own, right where its input is read, in the name of a worker task that is at rest. Most end
there. One that suspends is handed to its worker, which drives it to its end and rests again. The
answers of one turn of the loop leave in one system call.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
from _thread import get_ident
from asyncio.tasks import _enter_task, _leave_task  # documented, for whoever runs tasks
from collections import deque
from socket import MSG_DONTWAIT
from time import monotonic

from ember._context import current
from ember.runner import _signals
from ember.runner._codec import decode_arguments, encode_item, error_body
from ember.runner._frames import (
    BYTES,
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
from ember.runner._runner import Runner, Stopped, answer_of
from ember.runner._streams import end_async_items
from ember.runner._workers import Suspended, Worker, drive, is_cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._context import InputKey
    from ember.runner._batches import Batch
    from ember.runner._beside import Beside
    from ember.runner._exchange import Inflow
    from ember.runner._runner import Answer, Entry, Hook, Waiting
    from ember.runner._streams import Window

_HOLD_S = 0.001  # answers are held back at most so long while more input is at hand
_FIRST_RETRY_S, _LAST_RETRY_S = 0.01, 0.5

# The input, its format, its arguments, and the batch that it stands for and is the first of.
Item = tuple["InputKey", int, bytes, "Batch | None"]


class TaskRunner(Runner):
    """Runs inputs as they come; the engine bounds how many there are at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loop = asyncio.new_event_loop()
        self._main = get_ident()
        self._inputs: deque[Item] = deque()
        self._running: dict[int, tuple[InputKey, Worker]] = {}  # by input id
        self._stale: set[int] = set()  # of a lost connection: finished, but not answered
        self._cancelled: set[tuple[int, int]] = set()
        self._resting: list[Worker] = []
        self._workers_coming = 0  # new ones, on their way to rest
        self._workers: set[asyncio.Task[None]] = set()
        self._answers: list[bytes] = []
        self._posted: deque[bytes] = deque()  # by threads
        self._unsent: bytes | memoryview = b""
        self._flush_is_due = False
        self._loop_is_blocked = False  # by user code, which waits for an answer
        self._held_since_s = 0.0
        self._connected = False
        self._attached = False  # it has been, or is
        self._ready = b""  # until it is time to say so
        self._failure: BaseException | None = None
        self._in_hooks = False  # which the loop runs to their end
        self._beside: Beside | None = None
        self._inflows: dict[int, Inflow] = {}  # of web requests that wait or run, by input id
        if not all(entry.is_async for entry in self.function.entries):
            self._put_beside()

    def _put_beside(self) -> None:
        from ember.runner._beside import Beside

        self._beside = Beside(self.function.max_inputs)
        for entry in self.function.entries:
            if not entry.is_async:
                beside = self._beside
                wrap = beside.wrapped_generator if entry.is_generator else beside.wrapped
                entry.handler = wrap(entry.handler)

    def call_hooks(self, hooks: list[Hook]) -> None:
        asyncio.set_event_loop(self.loop)
        if not self._attached:
            self._attach()
        self._in_hooks = True
        try:
            context, error = self.loop.run_until_complete(_call_all(hooks))
        finally:
            self._in_hooks = False
        for variable, value in context.items():
            if variable.get(None) is not value:
                variable.set(value)
        if error is not None:
            raise error

    def run(self, ready: bytes) -> None:
        asyncio.set_event_loop(self.loop)
        self._ready = ready
        # A Cancel is read where it comes; the signal after it is for runners that don't read.
        signal.signal(signal.SIGUSR1, lambda _signal, _frame: None)
        self.loop.add_signal_handler(signal.SIGTERM, self.stop)
        _signals.forget_in_children()
        self._add_worker()
        self.loop.call_soon(self._greet if self._attached else self._attach)
        while self._failure is None:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # From a task that user code started and left to itself.
                print(f"a task ended with {error!r}", file=sys.stderr)
        raise self._failure

    def sole_input(self) -> InputKey | None:
        if len(self._running) != 1:
            return None
        return next(iter(self._running.values()))[0]

    def owns(self, loop: object) -> bool:
        return loop is self.loop

    def send(self, data: bytes) -> None:
        if get_ident() == self._main:
            self._answers.append(data)
            self._flush()
            return
        # Either we see that the loop is blocked, or who blocks it sees what is posted.
        self._posted.append(data)
        if not (self._loop_is_blocked and self._send_posted()):
            self.loop.call_soon_threadsafe(self._answer_posted)

    def _answer_posted(self) -> None:
        while self._posted:
            self._answer(self._posted.popleft())

    def _send_posted(self) -> bool:
        """Sends what threads have posted; False if it has to wait for the loop after all."""
        posted = self._posted
        try:
            while posted:
                data = posted.popleft()
                if not self.link.send_in_turn(data):
                    posted.appendleft(data)
                    return False
        except IndexError:
            pass  # another thread took the last one
        except ConnectionLost:
            pass  # found again, and mended, by the main thread
        return True

    def wait(self, waiter: Waiting, sleep: Callable[[], object]) -> None:
        if get_ident() != self._main:
            if self._beside is not None:
                return self._beside.wait(waiter, sleep)
            while not waiter.done:
                sleep()
            return None
        try:
            if self._unsent:
                self.link.send(bytes(self._unsent))
                self._unsent = b""
            self._loop_is_blocked = True  # what threads send must not wait for it
            self._send_posted()
            while not waiter.done:  # user code blocks the loop: read for it
                self.link.receive()
                self._read_frames()
        except ConnectionLost:
            self._detach()
        finally:
            self._loop_is_blocked = False
        if self._inputs:  # not here, in the midst of another's code
            self.loop.call_soon(self._begin_inputs)
        return None

    # --- the connection ---

    def _attach(self) -> None:
        """Begins to serve a connection that is greeted."""
        self._connected = self._attached = True
        self.loop.add_reader(self.link.socket, self._on_readable)
        self._greet()

    def _greet(self) -> None:
        if self._ready and self._connected and not self._stale:
            self._answer(self._ready)

    def _detach(self, lost: object = None) -> None:
        """The connection is lost: what runs finishes, unanswered; what waits is forgotten.

        Of one that was found lost before, and perhaps made anew since, the socket is given.
        """
        if not self._connected or lost not in (None, self.link.socket):
            return
        self._connected = False
        self.loop.remove_reader(self.link.socket)
        self.loop.remove_writer(self.link.socket)
        self._stale.update(self._running)
        self._inputs.clear()
        self._answers.clear()
        self._cancelled.clear()
        self._unsent = b""
        self.fail_waiters()
        self._reconnect(_FIRST_RETRY_S)

    def _reconnect(self, pause_s: float) -> None:
        if self.stopping:
            return self._end(Stopped())
        if self.link.try_connect(self.hello("ready", list(self._stale))):
            return self._attach()
        self.loop.call_later(pause_s, self._reconnect, min(2 * pause_s, _LAST_RETRY_S))
        return None

    def _end(self, why: BaseException) -> None:
        self._failure = why
        if not self._in_hooks:
            self.loop.stop()

    def stop(self) -> None:
        self.stopping = True
        if not self._running and not self._inputs:
            self._end(Stopped())

    # --- in ---

    def _on_readable(self) -> None:
        try:
            self.link.receive(MSG_DONTWAIT)
            self._read_frames()
            self._begin_inputs()
        except ConnectionLost:
            self._detach()
        except BaseException as error:  # Stopped, or the protocol broken
            self._end(error)

    def _read_frames(self) -> None:
        link, inputs = self.link, self._inputs
        while (received := link.next_frame()) is not None:
            kind, format, attempt, stream, call_id, begin, end = received
            if kind == INPUT:
                body = link.body(format, begin, end)
                key = stream, attempt, call_id
                if self.coming is None:
                    inputs.append((key, format & 0x7F, bytes(body), None))
                elif batch := self.gather(key, format, body):
                    inputs.append((batch.key, 0, b"", batch))
                if self._entry_of(format).is_web:
                    self._open_inflow(key)
            elif kind == CANCEL:
                self._cancel(stream, attempt)
            else:
                self.handle(received)

    def _entry_of(self, format: int) -> Entry:
        return self.function.entries[format >> METHOD_SHIFT & METHOD_MASK]

    def _open_inflow(self, key: InputKey) -> None:
        from ember.runner._exchange import Inflow

        self._inflows[key[0]] = Inflow(self._answer, key)

    def take_piece(self, stream: int, piece: bytes) -> None:
        inflow = self._inflows.get(stream)
        if inflow is not None:
            inflow.add(piece)

    def fail_waiters(self) -> None:
        super().fail_waiters()
        for inflow in self._inflows.values():
            inflow.lose()

    def _cancel(self, stream: int, attempt: int) -> None:
        running = self._running.get(stream)
        if running is not None and running[0][1] == attempt:
            self._cancelled.add((stream, attempt))
            running[1].task.cancel()
        elif any(key[:2] == (stream, attempt) for key, _, _, _ in self._inputs):
            self._cancelled.add((stream, attempt))

    # --- inputs ---

    def _begin_inputs(self) -> None:
        """Begins what waits, as far as there are workers at rest. Never from within a task."""
        inputs, resting = self._inputs, self._resting
        while inputs and resting:
            worker = resting.pop()
            if not worker.is_fresh():
                worker.end()
                continue
            key, format, body, batch = inputs.popleft()
            self._running[key[0]] = (key, worker)
            answer = self._begin(worker, key, format, body, batch)
            if answer is not None:
                self._finish(key, answer)
                resting.append(worker)
        self._flush()
        while self._workers_coming < len(inputs):
            self._add_worker()

    def _begin(
        self, worker: Worker, key: InputKey, format: int, body: bytes, batch: Batch | None
    ) -> Answer | Batch | None:
        """Runs an input or a batch until it ends, which gives its answer, or suspends."""
        task = worker.task
        _enter_task(self.loop, task)
        try:
            if self._cancelled and key[:2] in self._cancelled:
                raise asyncio.CancelledError
            entry = self._entry_of(format)
            format &= FORMAT_MASK
            context = self.function.base.copy()
            if entry.is_web:
                context.run(current.set, key)
                running = self._exchange(key, entry, body)
            else:
                if batch is None:
                    args, kwargs = decode_arguments(format, body, entry.plan)
                elif (arguments := batch.arguments(entry.plan)) is not None:
                    args, kwargs = arguments
                else:
                    return batch
                context.run(current.set, key)
                running = entry.handler(*args, **kwargs)
                if entry.is_generator:
                    running = self._stream(key, format, running)
            try:
                awaited = context.run(running.send, None)
            except StopIteration as stop:
                return _answer(entry, format, batch, stop.value)
        except BaseException as error:
            return _failure(batch, error, cancelled=key[:2] in self._cancelled)
        finally:
            _leave_task(self.loop, task)
        worker.work = key, format, entry, Suspended(running, context, awaited), batch
        if not worker.rest.done():
            worker.rest.set_result(None)
        return None

    def _add_worker(self) -> None:
        self._workers_coming += 1
        worker = Worker()
        worker.task = self.loop.create_task(self._drive_in_turn(worker))
        self._workers.add(worker.task)

    async def _drive_in_turn(self, worker: Worker) -> None:
        """Drives what the worker is given, until something cancels its task or it is to end."""
        self._workers_coming -= 1
        while await self._is_given_work(worker):
            assert worker.work is not None
            key, format, entry, suspended, batch = worker.work
            worker.work = None
            try:
                answer = _answer(entry, format, batch, await drive(suspended))
            except BaseException as error:
                answer = _failure(batch, error, cancelled=key[:2] in self._cancelled)
            self._finish(key, answer)
            self._flush_soon()
            if is_cancelled(worker.task):
                break  # too blemished for the next input
        self._workers.discard(worker.task)

    async def _is_given_work(self, worker: Worker) -> bool:
        """Rests until there is work; False if the task is to end instead."""
        worker.rest = self.loop.create_future()
        self._resting.append(worker)
        if self._inputs:
            self.loop.call_soon(self._begin_inputs)
        try:
            await worker.rest
        except asyncio.CancelledError:
            # By the very code that it was to drive, or by what that code began.
            if worker.work is not None:
                worker.work[3].cancelled = True
        return worker.work is not None

    async def _stream(self, key: InputKey, format: int, items: Any) -> None:
        """Runs an async generator, no further ahead of who reads its items than the window."""
        window = self.open_window(key)
        try:
            async for item in items:
                await self._send_item(key, format, window, encode_item(format, item))
        except BaseException as error:
            await end_async_items(items, error)
            raise
        finally:
            self.close_window(key)

    async def _exchange(self, key: InputKey, entry: Entry, head: bytes) -> None:
        """Runs a web request."""
        from ember.runner._exchange import Exchange

        window = self.open_window(key)
        try:

            async def send(data: bytes) -> None:
                await self._send_item(key, BYTES, window, data)

            await entry.handler(Exchange(head, self._inflows[key[0]], window, send))
        finally:
            self.close_window(key)

    async def _send_item(self, key: InputKey, format: int, window: Window, data: bytes) -> None:
        window.take(len(data))
        if key[0] not in self._stale:
            self._hold(HEADER.pack(len(data), CHUNK, format, key[1], key[0]), data)
            self._flush()
        if not window.done:
            await self._credit(window)
        window.check()

    async def _credit(self, window: Window) -> None:
        while not window.done:
            given = self.loop.create_future()
            window.wake = lambda given=given: given.done() or given.set_result(None)
            await given

    def _finish(self, key: InputKey, answer: Answer | Batch) -> None:
        stream = key[0]
        del self._running[stream]
        self._inflows.pop(stream, None)
        if self._cancelled:
            self._cancelled.discard(key[:2])
        if pending:
            self.logs.finish_input(key)
        if self._stale and stream in self._stale:
            self._stale.remove(stream)
            if not self._stale and self._connected:
                self._answer(self._ready)
        else:
            now_s = monotonic()
            if not self._answers:
                self._held_since_s = now_s
            if isinstance(answer, tuple):
                kind, format, data = answer
                self._hold(HEADER.pack(len(data), kind, format, key[1], key[0]), data)
            else:
                self._hold(*answer.frames())
            if now_s - self._held_since_s > _HOLD_S:
                self._flush()
        if self.stopping and not self._running and not self._inputs:
            self._flush()
            self._end(Stopped())

    # --- out ---

    def _hold(self, *parts: bytes) -> None:
        """Has frames of an input's ready to leave, behind what it has written."""
        if logs := self.logs.held_back():
            self._answers += logs
            self.logs.outbox.taken()  # as good as sent: the loop sends in this order
        self._answers += parts

    def _answer(self, data: bytes) -> None:
        self._answers.append(data)
        self._flush()

    def _flush_soon(self) -> None:
        """Sends at the end of this turn of the loop, together with what else there will be."""
        if self._answers and not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._unsent or not self._answers or not self._connected:
            return
        data = self._answers[0] if len(self._answers) == 1 else b"".join(self._answers)
        self._answers.clear()
        self._send_from(memoryview(data))

    def _send_from(self, data: memoryview) -> None:
        """Sends what the socket takes; the rest when it takes more."""
        try:
            self._unsent = self.link.send_some(data)
        except ConnectionLost:
            self.loop.call_soon(self._detach, self.link.socket)
            return
        if self._unsent:
            self.loop.add_writer(self.link.socket, self._on_writable)

    def _on_writable(self) -> None:
        self.loop.remove_writer(self.link.socket)
        data, self._unsent = self._unsent, b""
        self._send_from(memoryview(data))
        self._flush()


def _answer(entry: Entry, format: int, batch: Batch | None, value: Any) -> Answer | Batch:
    if batch is None:
        return answer_of(entry, format, value)
    batch.settle(entry.name, value)
    return batch


def _failure(batch: Batch | None, error: BaseException, *, cancelled: bool) -> Answer | Batch:
    if batch is None:
        return ERROR, JSON, error_body(error, cancelled=cancelled)
    batch.fail(error, cancelled=cancelled)
    return batch


async def _call_all(hooks: list[Hook]) -> tuple[contextvars.Context, BaseException | None]:
    """Calls hooks in one context, which it gives with what one of them raised.

    As a result, lest the frames of the loop stand before those of the user's code.
    """
    error: BaseException | None = None
    try:
        for hook in hooks:
            done: Any = hook.handler()
            if hook.is_async:
                await done
    except BaseException as raised:
        error = raised
    return contextvars.copy_context(), error
