"""Calls of other functions from user code: they go over the runner's own socket."""

from __future__ import annotations

import sys

from ember import _context, _json
from ember.exception import UnavailableError, from_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember.runner._runner import Runner


class Waiter:
    """One call whose answer is awaited. `wake` is called, from any thread, when it is there."""

    __slots__ = ("_body", "_ok", "done", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.done = False
        self._ok = False
        self._body: bytes | None = None

    def answer(self, ok: bool, body: bytes) -> None:
        """The answer has come."""
        self._ok, self._body, self.done = ok, body, True
        self.wake()

    def lost(self) -> None:
        """The answer can't come any more."""
        self.done = True
        self.wake()

    def result(self) -> bytes:
        """The pickled result, or the exception that the call ended with."""
        if self._body is None:
            raise UnavailableError("the connection to the server was lost during the call")
        if self._ok:
            return self._body
        raise from_report(_json.loads(self._body), unpickle=True)


def call(app: str, function: str, body: bytes) -> bytes:
    """Calls another function with a pickle of (args, kwargs), and blocks for the pickled result."""
    from queue import SimpleQueue

    answered: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: answered.put(None))
    runner = running()
    runner.start_call(app, function, body, waiter)
    runner.wait(waiter, answered.get)
    return waiter.result()


def spawn(app: str, function: str, body: bytes, options: dict[str, object]) -> str:
    """Starts a call that nobody waits for; its id, once it is on the server's disk."""
    head = {"app": app, "function": function, "mode": "async", **options}
    return _json.loads(_ask(head, body))["call_id"]


def result(call_id: str, wait_ms: int) -> bytes:
    """The pickled result of a call; PendingError if it has not ended after so long."""
    return _ask({"result_of": call_id, "wait_ms": wait_ms}, b"")


def _ask(head: dict[str, object], body: bytes) -> bytes:
    from queue import SimpleQueue

    answered: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: answered.put(None))
    runner = running()
    runner.ask(head, body, waiter)
    runner.wait(waiter, answered.get)
    return waiter.result()


def volume(action: str, name: str) -> int:
    """Commits or reloads a volume that is mounted here; the number of its newest version."""
    from queue import SimpleQueue

    answered: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: answered.put(None))
    runner = running()
    runner.start_volume_request(action, name, waiter)
    runner.wait(waiter, answered.get)
    return _json.loads(waiter.result())["version"]


async def call_async(app: str, function: str, body: bytes) -> bytes:
    """The same without blocking the event loop that runs this."""
    asyncio = sys.modules["asyncio"]
    loop = asyncio.get_running_loop()
    runner = running()
    if not runner.owns(loop):  # a loop of the user's own, in a sync function
        return await loop.run_in_executor(None, call, app, function, body)
    answered = loop.create_future()
    waiter = Waiter(lambda: answered.done() or answered.set_result(None))
    runner.start_call(app, function, body, waiter)
    await answered
    return waiter.result()


def running() -> Runner:
    """The runner of this container, once the function's module is loaded."""
    if _context.runner is None:
        raise UnavailableError(
            "functions can't be called while the module is being imported; call them later"
        )
    return _context.runner
