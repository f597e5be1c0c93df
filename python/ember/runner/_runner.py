"""What all modes share: the function, answers, and frames that aren't inputs."""

from __future__ import annotations

import contextvars
from itertools import count

from ember import _json
from ember._context import current, current_call_id
from ember.runner import _frames
from ember.runner._frames import frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._context import InputKey
    from ember._signature import Plan
    from ember.runner._calls import Waiter
    from ember.runner._frames import Link
    from ember.runner._logs import Logs

Answer = tuple[int, int, bytes]  # frame type, format, body


class Stopped(BaseException):
    """No input follows: the process is to end."""


class Function:
    """The user's function, loaded."""

    __slots__ = ("base", "handler", "is_async", "max_inputs", "plan")

    def __init__(
        self, handler: Callable[..., Any], plan: Plan, *, is_async: bool, max_inputs: int
    ) -> None:
        self.handler = handler
        self.plan = plan
        self.is_async = is_async
        self.max_inputs = max_inputs
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
        self._waiters: dict[int, Waiter] = {}  # calls of other functions, by our number
        self._numbers = count(1)

    def run(self, ready: bytes) -> None:
        """Serves until Stopped comes up."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Sends whole frames, from any thread, also in the middle of user code."""
        raise NotImplementedError

    def wait(self, waiter: Waiter, sleep: Callable[[], object]) -> None:
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
        elif kind == _frames.PING:
            self.send(frame(_frames.PONG, _frames.NONE, 0, 0, b""))
        elif kind == _frames.STOP:
            self.stop()
        elif kind != _frames.PONG:
            raise _frames.ProtocolError(f"a frame of type {kind}")

    def start_call(self, app: str, function: str, body: bytes, waiter: Waiter) -> int:
        """Asks the server to call another function; the answer goes to the waiter."""
        return self.ask({"app": app, "function": function}, body, waiter)

    def ask(self, head: dict[str, object], body: bytes, waiter: Waiter) -> int:
        """Asks the server for what the head says; the answer goes to the waiter. Its number."""
        number = next(self._numbers)
        self._waiters[number] = waiter
        self._send_call({**head, "call": current_call_id() or ""}, body, number)
        return number

    def withdraw(self, numbers: list[int]) -> None:
        """The answers to these are not wanted any more."""
        for number in numbers:
            self._waiters.pop(number, None)
        self._send_call({"withdraw": numbers}, b"", next(self._numbers))

    def nudge(self) -> None:
        """Has the server say something: whoever reads for a waiter looks at that again."""
        self.send(frame(_frames.PING, _frames.NONE, 0, 0, b""))

    def _send_call(self, head: dict[str, object], body: bytes, number: int) -> None:
        text = _json.dumps(head).encode()
        data = len(text).to_bytes(2, "little") + text + body
        self.send(frame(_frames.CALL, _frames.PICKLE, 0, number, data))

    def start_volume_request(self, action: str, volume: str, waiter: Waiter) -> None:
        """Asks the server to commit or reload a volume; the answer goes to the waiter."""
        number = next(self._numbers)
        self._waiters[number] = waiter
        body = _json.dumps({"action": action, "volume": volume}).encode()
        self.send(frame(_frames.VOLUME, _frames.JSON, 0, number, body))

    def fail_waiters(self) -> None:
        """The answers to calls made on a lost connection never come."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            waiter.lost()


def enter(key: InputKey, handler: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Calls the handler. To be run in the input's own context."""
    current.set(key)
    return handler(*args, **kwargs)
