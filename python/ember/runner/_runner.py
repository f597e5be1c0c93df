"""What all modes share: the function, answers, and frames that aren't inputs."""

from __future__ import annotations

import contextvars
from _thread import start_new_thread
from itertools import count

from ember import _json
from ember._context import current, current_call_id
from ember.runner import _frames
from ember.runner._codec import encode_result
from ember.runner._frames import frame
from ember.runner._streams import Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._context import InputKey
    from ember._signature import Plan
    from ember.runner._batches import Batch
    from ember.runner._calls import ItemWaiter, Waiter
    from ember.runner._frames import Link
    from ember.runner._logs import Logs

    # What user code waits for: has `done`, and `wake`, which is called when it may be.
    Waiting = Waiter | ItemWaiter | Window

Answer = tuple[int, int, bytes]  # frame type, format, body


class Stopped(BaseException):
    """No input follows: the process is to end."""


class Entry:
    """What an input is for: the function, or one method of the class."""

    __slots__ = ("handler", "is_async", "is_generator", "is_web", "name", "plan")

    def __init__(
        self,
        handler: Callable[..., Any],
        plan: Plan,
        *,
        is_async: bool,
        is_generator: bool = False,
        is_web: bool = False,
    ) -> None:
        self.handler = handler
        self.name: str = getattr(handler, "__qualname__", "the function")
        self.plan = plan
        self.is_async = is_async
        self.is_generator = is_generator  # what it gives has gone before it ends
        self.is_web = is_web  # it takes an Exchange


class Hook:
    """What a class wants called before the first input or after the last."""

    __slots__ = ("handler", "is_async")

    def __init__(self, handler: Callable[[], Any], *, is_async: bool) -> None:
        self.handler = handler
        self.is_async = is_async


class Function:
    """The user's function or class, loaded. Where any part of it is async, all of it is."""

    __slots__ = ("base", "enter", "entries", "exit", "is_async", "max_inputs")

    def __init__(
        self,
        entries: list[Entry],
        *,
        is_async: bool,
        max_inputs: int,
        enter: list[Hook] | None = None,
        exit: list[Hook] | None = None,
    ) -> None:
        self.entries = entries
        self.enter = enter or []
        self.exit = exit or []
        self.is_async = is_async
        self.max_inputs = max_inputs
        self.settle()

    def settle(self) -> None:
        """Loading is done: with a class, so is its enter."""
        # Inputs run in copies of the context that importing left: what one sets in a
        # ContextVar, another never sees.
        self.base = contextvars.copy_context()


class Runner:
    """Serves inputs from a link that is connected and greeted, until it is stopped."""

    def __init__(
        self, function: Function, link: Link, logs: Logs, hello: Callable[[str, list[int]], bytes]
    ) -> None:
        self.function = function
        self.link = link
        self.logs = logs
        self.hello = hello  # the Hello frame for a state and the inputs that still run
        self.stopping = False  # SIGTERM has come: finish what runs, take nothing more
        self.coming: Batch | None = None  # a batch, as far as its inputs have come
        self._waiters: dict[int, Waiter | ItemWaiter] = {}  # calls of others, by our number
        self._windows: dict[int, Window] = {}  # of generators that run, by input id
        self._numbers = count(1)

    def call_hooks(self, hooks: list[Hook]) -> None:
        """Calls them, in order, while no input runs. Not at all where there are none."""
        raise NotImplementedError

    def enter(self) -> None:
        """Has the class load what its inputs share; what it raises comes up."""
        if self.function.enter:
            self.call_hooks(self.function.enter)
            self.function.settle()

    def run(self, ready: bytes) -> None:
        """Serves until Stopped comes up."""
        raise NotImplementedError

    def exit(self) -> None:
        """No input follows: one hook that fails keeps no other from its turn."""
        for hook in self.function.exit:
            try:
                self.call_hooks([hook])
            except BaseException:
                import traceback

                traceback.print_exc()

    def send(self, data: bytes) -> None:
        """Sends whole frames, from any thread, also in the middle of user code."""
        raise NotImplementedError

    def wait(self, waiter: Waiting, sleep: Callable[[], object]) -> None:
        """Blocks user code until the waiter is done; `sleep` returns after each of its wakes."""
        raise NotImplementedError

    def sole_input(self) -> InputKey | None:
        """The input that runs, where it is the only one: what stray output belongs to."""
        raise NotImplementedError

    def owns(self, _loop: object) -> bool:
        """Whether this is the event loop that the runner runs async functions on."""
        return False

    def stop(self) -> None:
        """No input follows: what runs may finish, then Stopped comes up."""
        raise NotImplementedError

    def handle(self, received: _frames.Frame) -> None:
        """Handles a frame that is neither Input nor Cancel."""
        kind, format, _, stream, _, begin, end = received
        if kind in (_frames.CALL_RESULT, _frames.CALL_ERROR):
            body = bytes(self.link.body(format, begin, end))
            waiter = self._waiters.pop(stream, None)
            if waiter is not None:
                waiter.answer(kind == _frames.CALL_RESULT, body)
        elif kind == _frames.CREDIT:
            window = self._windows.get(stream)
            if window is not None:
                window.give(self.link.body(format, begin, end))
        elif kind == _frames.CALL_CHUNK:
            items = self._waiters.get(stream)
            if items is not None:
                items.add(bytes(self.link.body(format, begin, end)))
        elif kind == _frames.BATCH:
            from ember.runner._batches import Batch

            self.coming = Batch(*_frames.BATCH_BODY.unpack(self.link.body(format, begin, end)))
        elif kind == _frames.PIECE:
            self.take_piece(stream, bytes(self.link.body(format, begin, end)))
        elif kind == _frames.PING:
            self.send(frame(_frames.PONG, _frames.NONE, 0, 0, b""))
        elif kind == _frames.STOP:
            self.stop()
        elif kind != _frames.PONG:
            raise _frames.ProtocolError(f"a frame of type {kind}")

    def gather(self, key: InputKey, format: int, body: Any) -> Batch | None:
        """Adds an input to the batch that is coming; gives that once it is whole."""
        batch = self.coming
        assert batch is not None
        if not batch.add(key, format & 0x7F, bytes(body)):
            return None
        self.coming = None
        return batch

    def take_piece(self, stream: int, piece: bytes) -> None:
        """A part of a web request has come. Only an event loop has those."""

    def open_window(self, key: InputKey) -> Window:
        """For the items of an input, until close_window()."""
        window = self._windows[key[0]] = Window()
        return window

    def close_window(self, key: InputKey) -> None:
        self._windows.pop(key[0], None)

    def start_call(
        self,
        app: str,
        function: str,
        body: bytes,
        waiter: Waiter | ItemWaiter,
        variant: str | None = None,
    ) -> int:
        """Asks the server to call another function; the answer goes to the waiter.

        Returns the number of the call.
        """
        head: dict[str, object] = {"app": app, "function": function}
        if variant:
            head["variant"] = variant
        if waiter.takes_items:
            head["stream"] = True
        return self.ask(head, body, waiter)

    def accept_items(self, number: int, items: int, size_bytes: int) -> None:
        """User code has taken items of a call: as many more may come."""
        body = _frames.CREDIT_BODY.pack(items, size_bytes)
        self.send(frame(_frames.CREDIT, _frames.NONE, 0, number, body))

    def cancel_call(self, number: int) -> None:
        """Nobody waits for the call any more. Also for finalisers, which come anywhere."""
        if self._waiters.pop(number, None) is None:
            return  # its connection has gone, and it with that
        # From a thread of its own: this one may be sending just now, with the socket locked.
        data = frame(_frames.CALL_CANCEL, _frames.NONE, 0, number, b"")
        start_new_thread(self.send, (data,))

    def ask(self, head: dict[str, object], body: bytes, waiter: Waiter | ItemWaiter) -> int:
        """Asks the server for what the head says; the answer goes to the waiter.

        Returns the number of the question.
        """
        number = next(self._numbers)
        self._waiters[number] = waiter
        text = _json.dumps({**head, "call": current_call_id() or ""}).encode()
        data = len(text).to_bytes(2, "little") + text + body
        self.send(frame(_frames.CALL, _frames.PICKLE, 0, number, data))
        return number

    def withdraw(self, numbers: list[int]) -> None:
        """The answers to these are not wanted any more."""
        for number in numbers:
            self._waiters.pop(number, None)
        cancels = (frame(_frames.CALL_CANCEL, _frames.NONE, 0, one, b"") for one in numbers)
        self.send(b"".join(cancels))

    def nudge(self) -> None:
        """Has the server say something: whoever reads for a waiter looks at that again."""
        self.send(frame(_frames.PING, _frames.NONE, 0, 0, b""))

    def start_request(self, kind: int, request: dict[str, Any], waiter: Waiter) -> None:
        """Asks the server for something by a Volume or Variant; the answer goes to the waiter."""
        number = next(self._numbers)
        self._waiters[number] = waiter
        self.send(frame(kind, _frames.JSON, 0, number, _json.dumps(request).encode()))

    def start_shared(self, head: dict[str, object], body: bytes, waiter: Waiter) -> int:
        """Asks the server for something of a dictionary or a queue; the answer goes to the waiter.

        Returns the number of the question.
        """
        number = next(self._numbers)
        self._waiters[number] = waiter
        text = _json.dumps(head).encode()
        data = len(text).to_bytes(2, "little") + text + body
        self.send(frame(_frames.SHARED, _frames.BYTES, 0, number, data))
        return number

    def fail_waiters(self) -> None:
        """What was to come on a lost connection never does: answers, credit, rests of batches."""
        self.coming = None
        waiters, self._waiters = self._waiters, {}
        for waiter in (*waiters.values(), *self._windows.values()):
            waiter.lost()


def answer_of(entry: Entry, format: int, value: Any) -> Answer:
    """What to answer where user code has returned; a generator's items have gone before."""
    if entry.is_generator:
        return _frames.RESULT, _frames.NONE, b""
    return _frames.RESULT, format, encode_result(format, value)


def enter(key: InputKey, handler: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Calls the handler. To be run in the input's own context."""
    current.set(key)
    return handler(*args, **kwargs)
