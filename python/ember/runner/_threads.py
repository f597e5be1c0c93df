"""Sync functions, several inputs at a time: the main thread reads, threads run the inputs."""

from __future__ import annotations

import signal
import threading
from _thread import get_ident
from queue import SimpleQueue

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
from ember.runner._runner import Runner, Stopped, answer_of, enter
from ember.runner._streams import END, end_items, next_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._context import InputKey
    from ember.runner._batches import Batch
    from ember.runner._frames import Frame
    from ember.runner._runner import Answer, Entry, Hook, Waiting
    from ember.runner._streams import Window


class Job:
    """One input on its way through a thread. Its fields are guarded by its lock."""

    __slots__ = ("batch", "body", "cancelled", "format", "key", "lock", "thread", "wake")

    def __init__(self, key: InputKey, format: int, body: bytes, batch: Batch | None = None) -> None:
        self.key = key
        self.format = format
        self.body = body
        self.batch = batch  # that the input stands for, and is the first of
        self.lock = threading.Lock()
        self.cancelled = False
        self.thread: int | None = None  # set while user code runs
        self.wake: Callable[[], object] | None = None  # while that waits for a call of its own

    def cancel(self) -> None:
        """Raises InputCancelled in the user code, now or as soon as it runs."""
        with self.lock:
            self.cancelled = True
            if self.thread is not None:
                _raise_in(self.thread, InputCancelled)
            if self.wake is not None:
                self.wake()

    def enter(self) -> None:
        with self.lock:
            if self.cancelled:
                raise InputCancelled
            self.thread = get_ident()

    def raise_here(self) -> None:
        """Raises InputCancelled on the job's own thread, once: not later from outside too."""
        with self.lock:
            _raise_in(get_ident(), None)
        raise InputCancelled

    def leave(self) -> None:
        """User code has ended: what was to be raised in it and wasn't yet is called off."""
        with self.lock:
            thread, self.thread = self.thread, None
            if thread is not None and self.cancelled:
                _raise_in(thread, None)


class ThreadRunner(Runner):
    """Runs inputs as they come, on as many threads as there are inputs."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._jobs: dict[int, Job] = {}  # that wait or run, by input id
        self._stale: set[int] = set()  # of a lost connection: finished, but not answered
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._threads = 0
        self._own = threading.local()
        self._lock = threading.Lock()  # guards _jobs and _stale
        self._idle = False  # the main thread may be ended by SIGTERM
        self._main = get_ident()
        self._ready = b""

    def run(self, ready: bytes) -> None:
        self._ready = ready
        # Exceptions from outside come anywhere: none shall find an input's thread with the socket
        # locked.
        self.logs.outbox.try_send = _leave_it
        # A Cancel is read where it comes; the signal after it is for runners that don't read.
        _signals.handle({signal.SIGUSR1: _ignore, signal.SIGTERM: self._on_terminate})
        self._greet_ready()
        while True:
            try:
                self._read()
            except ConnectionLost:
                self._reconnect()

    def sole_input(self) -> InputKey | None:
        jobs = tuple(self._jobs.values())
        return jobs[0].key if len(jobs) == 1 else None

    def send(self, data: bytes) -> None:
        try:
            self.link.send(data)  # in one piece: an exception from outside can't split it
        except ConnectionLost:
            pass  # found again, and mended, by the main thread

    def call_hooks(self, hooks: list[Hook]) -> None:
        for hook in hooks:
            hook.handler()

    def wait(self, waiter: Waiting, sleep: Callable[[], object]) -> None:
        if get_ident() == self._main:
            return self._read_for(waiter)
        job: Job | None = getattr(self._own, "job", None)
        wait_in_job(job, waiter, sleep)
        return None

    def _read_for(self, waiter: Waiting) -> None:
        """A hook waits, on the thread that reads."""
        while not waiter.done:
            received = self.link.next_frame()
            if received is not None:
                self._take(received)
                continue
            try:
                self.link.receive()
            except ConnectionLost:
                self.fail_waiters()

    # --- the main thread ---

    def _read(self) -> None:
        link = self.link
        while True:
            received = link.next_frame()
            if received is None:
                self._receive()
                continue
            self._take(received)

    def _take(self, received: Frame) -> None:
        kind, format, attempt, stream, call_id, begin, end = received
        if kind == INPUT:
            body = self.link.body(format, begin, end)
            if self.coming is None:
                self._start(Job((stream, attempt, call_id), format & 0x7F, bytes(body)))
            elif batch := self.gather((stream, attempt, call_id), format, body):
                self._start(Job(batch.key, 0, b"", batch))
        elif kind == CANCEL:
            job = self._jobs.get(stream)
            if job is not None and job.key[1] == attempt:
                job.cancel()
        else:
            self.handle(received)

    def _receive(self) -> None:
        self._idle = True
        try:
            if self.stopping and not self._jobs:
                raise Stopped
            self.link.receive()
        finally:
            self._idle = False

    def _start(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.key[0]] = job
            if self._threads < len(self._jobs):
                self._threads += 1
                name = f"input-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._queue.put(job)

    def _reconnect(self) -> None:
        self.fail_waiters()
        with self._lock:
            self._stale.update(self._jobs)
        self._idle = True
        self.link.connect(self.hello("ready", list(self._stale)))
        self._idle = False
        self.fail_waiters()  # of what was sent meanwhile, into nothing
        with self._lock:
            if self._stale:
                return
        self._greet_ready()

    def _greet_ready(self) -> None:
        self.send(self._ready)

    def stop(self) -> None:
        self.stopping = True

    def _on_terminate(self) -> None:
        self.stopping = True
        if self._idle and not self._jobs:
            raise Stopped

    # --- the threads ---

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            self._own.job = job
            if job.batch is not None:
                answers = self._execute_batch(job, job.batch)
            else:
                kind, format, data = self._execute(job)
                answers = [HEADER.pack(len(data), kind, format, job.key[1], job.key[0]), data]
            self._own.job = None
            self._finish(job, answers)

    def _execute(self, job: Job) -> Answer:
        function = self.function
        format = job.format & FORMAT_MASK
        try:
            entry = function.entries[job.format >> METHOD_SHIFT & METHOD_MASK]
            args, kwargs = decode_arguments(format, job.body, entry.plan)
            job.body = b""
            if entry.is_generator:
                self._stream(job, entry.handler, args, kwargs)
                return answer_of(entry, format, None)
            return answer_of(entry, format, self._call(job, entry, args, kwargs))
        except BaseException as error:
            job.leave()  # the first one may have been interrupted itself
            return ERROR, JSON, error_body(error)

    def _call(self, job: Job, entry: Entry, args: Any, kwargs: Any) -> Any:
        try:
            job.enter()
            return self.function.base.copy().run(enter, job.key, entry.handler, args, kwargs)
        finally:
            job.leave()

    def _execute_batch(self, job: Job, batch: Batch) -> list[bytes]:
        """Runs the inputs of a batch together."""
        entry = self.function.entries[0]
        try:
            arguments = batch.arguments(entry.plan)
            if arguments is not None:
                batch.settle(entry.name, self._call(job, entry, *arguments))
        except BaseException as error:
            job.leave()  # the first one may have been interrupted itself
            batch.fail(error)
        return batch.frames()

    def _stream(self, job: Job, handler: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Runs a generator, no further ahead of who reads its items than the window."""
        format = job.format & FORMAT_MASK
        run = self.function.base.copy().run
        window = self.open_window(job.key)
        items: Any = None
        try:
            job.enter()
            items = iter(run(enter, job.key, handler, args, kwargs))
            while True:
                if not window.done:
                    self._wait_for_credit(window)
                window.check()
                item = run(next_item, items)
                if item is END:
                    return
                data = encode_item(format, item)
                job.leave()  # nothing may be raised between the parts of a frame
                window.take(len(data))
                self._send_item(job, format, data)
                job.enter()
        except BaseException as error:
            job.leave()
            run(end_items, items, error)
            raise
        finally:
            job.leave()
            self.close_window(job.key)

    def _wait_for_credit(self, window: Window) -> None:
        woken: SimpleQueue[None] = SimpleQueue()
        window.wake = lambda: woken.put(None)
        self.wait(window, woken.get)
        window.wake = int

    def _send_item(self, job: Job, format: int, data: bytes) -> None:
        stream, attempt, _ = job.key
        with self._lock:
            if stream in self._stale:
                return
        logs = self.logs.held_back()
        try:
            head = HEADER.pack(len(data), CHUNK, format, attempt, stream)
            self.link.send(*logs, head, data)
        except ConnectionLost:
            pass  # found again, and mended, by the main thread
        finally:
            if logs:
                self.logs.outbox.taken()

    def _finish(self, job: Job, answers: list[bytes]) -> None:
        stream = job.key[0]
        self.logs.finish_input(job.key)
        with self._lock:
            self._jobs.pop(stream, None)
            stale = stream in self._stale
            self._stale.discard(stream)
            ready = stale and not self._stale
        if ready:
            self._greet_ready()
        if not stale:
            logs = self.logs.held_back()
            try:
                self.link.send(*logs, *answers)
            except ConnectionLost:
                pass  # found again, and mended, by the main thread
            finally:
                if logs:
                    self.logs.outbox.taken()
        if self.stopping and not self._jobs:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def wait_in_job(job: Job | None, waiter: Waiting, sleep: Callable[[], object]) -> None:
    """Sleeps on a job's own thread until the waiter is done or the job cancelled."""
    if job is not None:
        job.wake = waiter.wake
    try:
        while not waiter.done:
            if job is not None and job.cancelled:
                job.raise_here()
            sleep()
    finally:
        if job is not None:
            job.wake = None


def _leave_it(_data: bytes) -> bool:
    return False


def _ignore() -> None:
    pass


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Has the thread raise the error as soon as it runs Python code; None calls it off."""
    import ctypes

    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
