"""Calls of other functions from user code: they go over the runner's own socket."""

from __future__ import annotations

import sys
from _collections import deque

from ember import _context, _json
from ember.exception import NotEnded, PendingError, UnavailableError, from_report
from ember.runner import _frames
from ember.runner._streams import END, WINDOW_BYTES, WINDOW_ITEMS, next_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any

    from ember.runner._runner import Runner


class _Pending(PendingError):
    """The server's own word that a call goes on, and no function's exception."""


class Waiter:
    """One call whose answer is awaited. `wake` is called, from any thread, when it is there."""

    __slots__ = ("_body", "_ok", "done", "wake")
    takes_items = False

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.done = False
        self._ok = False
        self._body: bytes | None = None

    def answer(self, ok: bool, body: bytes) -> None:
        """The answer has come."""
        self._ok, self._body, self.done = ok, body, True
        self.wake()

    def add(self, _item: bytes) -> None:
        """An item that nobody asked for."""

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
        report = _json.loads(self._body)
        if report.get("kind") == PendingError.code:
            raise _Pending(str(report.get("message")))
        raise from_report(report, unpickle=True)


class ItemWaiter:
    """A call of a generator function: its items as they come, then its end."""

    __slots__ = ("_body", "_items", "_ok", "_taken_bytes", "_taken_items", "ended", "wake")
    takes_items = True

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.ended = False
        self._items: deque[bytes] = deque()
        self._taken_items = self._taken_bytes = 0
        self._ok = False
        self._body: bytes | None = None

    @property
    def done(self) -> bool:
        return self.ended or bool(self._items)

    def add(self, item: bytes) -> None:
        """An item has come."""
        self._items.append(item)
        self.wake()

    def answer(self, ok: bool, body: bytes) -> None:
        """No further item comes."""
        self._ok, self._body, self.ended = ok, body, True
        self.wake()

    def lost(self) -> None:
        """The rest can't come any more."""
        self.ended = True
        self.wake()

    def take(self, runner: Runner, number: int) -> bytes | None:
        """The next item, None after the last, or the exception that ended them."""
        if self._items:
            item = self._items.popleft()
            self._taken_items += 1
            self._taken_bytes += len(item)
            is_half = self._taken_items * 2 >= WINDOW_ITEMS or self._taken_bytes * 2 >= WINDOW_BYTES
            if is_half and not self.ended:
                items, size_bytes = self._taken_items, self._taken_bytes
                self._taken_items = self._taken_bytes = 0
                runner.accept_items(number, items, size_bytes)
            return item
        if self._body is None:
            raise UnavailableError("the connection to the server was lost during the call")
        if self._ok:
            return None
        raise from_report(_json.loads(self._body), unpickle=True)


def call_items(
    app: str, function: str, body: bytes, variant: str | None = None
) -> Generator[bytes, None, None]:
    """Calls a generator function; the pickles of its items. Closing it cancels the call."""
    from queue import SimpleQueue

    woken: SimpleQueue[None] = SimpleQueue()
    waiter = ItemWaiter(lambda: woken.empty() and woken.put(None))
    runner = running()
    number = runner.start_call(app, function, body, waiter, variant)
    try:
        while True:
            if not waiter.done:
                runner.wait(waiter, woken.get)
            item = waiter.take(runner, number)
            if item is None:
                return
            yield item
    finally:
        if not waiter.ended:
            runner.cancel_call(number)


async def call_items_async(
    app: str, function: str, body: bytes, variant: str | None = None
) -> AsyncGenerator[bytes, None]:
    """The same without blocking the event loop that runs this."""
    asyncio = sys.modules["asyncio"]
    loop = asyncio.get_running_loop()
    runner = running()
    if not runner.owns(loop):  # a loop of the user's own, in a sync function
        items = call_items(app, function, body, variant)
        try:
            while (item := await loop.run_in_executor(None, next_item, items)) is not END:
                yield item
        finally:
            items.close()
        return
    woken = loop.create_future()
    waiter = ItemWaiter(lambda: woken.done() or woken.set_result(None))
    number = runner.start_call(app, function, body, waiter, variant)
    try:
        while True:
            while not waiter.done:
                await woken
                woken = loop.create_future()
            item = waiter.take(runner, number)
            if item is None:
                return
            yield item
    finally:
        if not waiter.ended:
            runner.cancel_call(number)


def call(app: str, function: str, body: bytes, variant: str | None = None) -> bytes:
    """Calls another function with a pickle of (args, kwargs), and blocks for the pickled result."""
    return _wait_for(lambda runner, waiter: runner.start_call(app, function, body, waiter, variant))


def spawn(app: str, function: str, body: bytes, options: dict[str, object]) -> dict[str, Any]:
    """Starts a call that nobody waits for; the answer, once it is on the server's disk."""
    head: dict[str, object] = {"app": app, "function": function, "mode": "async", **options}
    answer = _wait_for(lambda runner, waiter: runner.ask(head, body, waiter))
    return _json.loads(answer)


def result(call_id: str, wait_ms: int, *, to_the_end: bool) -> bytes | NotEnded:
    """The pickled result of a call, if it has ended after so long."""
    head: dict[str, object] = {"result_of": call_id, "wait_ms": wait_ms, "to_the_end": to_the_end}
    try:
        return _wait_for(lambda runner, waiter: runner.ask(head, b"", waiter))
    except _Pending as error:
        return NotEnded(str(error))


def volume(action: str, name: str) -> int:
    """Commits or reloads a volume that is mounted here; the number of its newest version."""
    return _ask(_frames.VOLUME, {"action": action, "volume": name})["version"]


def variant(
    app: str, function: str, parameters: dict[str, Any], options: dict[str, Any]
) -> str | None:
    """The id of a pool of the function with these; None for that which is deployed."""
    request = {"app": app, "function": function, "parameters": parameters, "options": options}
    return _ask(_frames.VARIANT, request)["variant"]


def shared(head: dict[str, object], body: bytes) -> bytes:
    """Asks something of a dictionary or a queue, and blocks for the answer."""
    from queue import SimpleQueue

    answered: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: answered.put(None))
    runner = running()
    number = runner.start_shared(head, body, waiter)
    try:
        runner.wait(waiter, answered.get)
    except BaseException:  # a call that is cancelled: what it waits for is left to others
        runner.withdraw([number])
        raise
    return waiter.result()


async def shared_async(head: dict[str, object]) -> bytes:
    """The same without blocking the event loop that runs this; to be cancelled at any time."""
    asyncio = sys.modules["asyncio"]
    loop = asyncio.get_running_loop()
    runner = running()
    answered = loop.create_future()
    if runner.owns(loop):
        waiter = Waiter(lambda: answered.done() or answered.set_result(None))
        number = runner.start_shared(head, b"", waiter)
    else:  # a loop of the user's own, in a sync function
        waiter, number = _wait_on_thread(runner, head, loop, answered)
    try:
        await answered
    except asyncio.CancelledError:
        runner.withdraw([number])
        waiter.lost()
        runner.nudge()  # the thread that waits may be the one that reads
        raise
    return waiter.result()


def _wait_on_thread(
    runner: Runner, head: dict[str, object], loop: Any, answered: Any
) -> tuple[Waiter, int]:
    """Has a thread wait, and read if it must, until the answer is there."""
    from queue import SimpleQueue
    from threading import Thread

    woken: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: woken.put(None))
    number = runner.start_shared(head, b"", waiter)

    def settle() -> None:
        if not answered.done():
            answered.set_result(None)

    def wait() -> None:
        runner.wait(waiter, woken.get)
        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    Thread(target=wait, name="ember-shared", daemon=True).start()
    return waiter, number


def _ask(kind: int, request: dict[str, Any]) -> Any:
    answer = _wait_for(lambda runner, waiter: runner.start_request(kind, request, waiter))
    return _json.loads(answer)


def _wait_for(ask: Callable[[Runner, Waiter], object]) -> bytes:
    """Asks the server, and blocks for its answer."""
    from queue import SimpleQueue

    answered: SimpleQueue[None] = SimpleQueue()
    waiter = Waiter(lambda: answered.put(None))
    runner = running()
    ask(runner, waiter)
    runner.wait(waiter, answered.get)
    return waiter.result()


async def call_async(app: str, function: str, body: bytes, variant: str | None = None) -> bytes:
    """The same without blocking the event loop that runs this."""
    asyncio = sys.modules["asyncio"]
    loop = asyncio.get_running_loop()
    runner = running()
    if not runner.owns(loop):  # a loop of the user's own, in a sync function
        return await loop.run_in_executor(None, call, app, function, body, variant)
    answered = loop.create_future()
    waiter = Waiter(lambda: answered.done() or answered.set_result(None))
    runner.start_call(app, function, body, waiter, variant)
    await answered
    return waiter.result()


def running() -> Runner:
    """The runner of this container, once the function's module is loaded."""
    if _context.runner is None:
        raise UnavailableError(
            "nothing can be asked of the server while the module is being imported; "
            "call functions and use dicts and queues later"
        )
    return _context.runner
