"""A map in a container: a window of calls over the runner's own socket."""

from __future__ import annotations

import threading

from ember import _json, _variant
from ember._map_flow import Flow, Outcome
from ember.exception import UnavailableError, from_report
from ember.runner import _calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember._variant import Variant

_WINDOW = 64  # calls under way
_WINDOW_BYTES = 32 << 20
_RETRY_S = 0.5
_FULL = {"queue_limit", "workspace_queue_limit", "nested_calls"}


class _Input(_calls.Waiter):
    """One input whose call is awaited."""

    __slots__ = ("_link", "body", "call", "number")

    def __init__(self, link: FrameLink, number: int, body: bytes) -> None:
        super().__init__(_nothing)
        self._link = link
        self.number = number
        self.body = body  # kept for when the queue is full
        self.call = 0  # the runner's number of it

    def answer(self, ok: bool, body: bytes) -> None:
        if ok:
            self._link.ended(Outcome(self.number, body), self)
            return
        report = _json.loads(body)
        limit = report.get("limit") or {}
        if report.get("kind") == "resource_exhausted" and limit.get("name") in _FULL:
            self._link.hold(self)
            return
        if report.get("kind") == "unknown_variant":
            self._link.lose_variant()
            self._link.hold(self)
            return
        error = Outcome(self.number, b"", lambda: from_report(report, unpickle=True))
        self._link.ended(error, self)

    def lost(self) -> None:
        self._link.ended(Outcome(self.number, b"", _lost), self)


class FrameLink:
    """Carries one map's inputs and results."""

    def __init__(self, flow: Flow, app: str, function: str, variant: Variant | None) -> None:
        self._flow = flow
        self._app = app
        self._function = function
        self._variant = variant
        self._variant_id = _variant.id_of(app, variant)
        self._is_variant_lost = False  # with an older version of the app
        self._runner = _calls.running()
        self._lock = threading.Lock()
        self._under_way: dict[int, _Input] = {}
        self._held: list[_Input] = []  # their queue was full
        self._timer: threading.Timer | None = None
        self._closed = False

    def start(self) -> None:
        self._flow.widen(_WINDOW, _WINDOW_BYTES)

    def send(self, number: int, body: bytes) -> None:
        """Starts the call of an input."""
        self._start(_Input(self, number, body))

    def end_of_inputs(self) -> None:
        """No answer may be under way by which whoever reads would find that out."""
        self._runner.nudge()

    def close(self) -> None:
        """Withdraws what is under way."""
        with self._lock:
            self._closed = True
            calls = [one.call for one in self._under_way.values()]
            self._under_way.clear()
            self._held.clear()
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if calls:
            self._runner.withdraw(calls)

    def wait(self) -> None:
        """Blocks until the flow has something to take; reads the runner's socket where it must."""
        from queue import SimpleQueue

        woken: SimpleQueue[None] = SimpleQueue()
        waiter = _FlowWaiter(self._flow, lambda: woken.put(None))
        self._flow.wakes = waiter.wake
        try:
            self._runner.wait(waiter, woken.get)
        finally:
            self._flow.wakes = None

    # --- calls ---

    def _start(self, one: _Input) -> None:
        with self._lock:
            if self._closed:
                return
            self._under_way[one.number] = one
            one.call = self._runner.start_call(
                self._app, self._function, one.body, one, self._variant_id
            )

    def ended(self, outcome: Outcome, one: _Input) -> None:
        with self._lock:
            if self._under_way.pop(one.number, None) is None:
                return
            next_one = self._held.pop(0) if self._held else None
        self._flow.answered([outcome])
        if next_one is not None:
            self._start(_Input(self, next_one.number, next_one.body))

    def lose_variant(self) -> None:
        """The app has a new version: its variant is made anew before anything is tried again."""
        self._is_variant_lost = True

    def hold(self, one: _Input) -> None:
        """Tries it again a little later."""
        with self._lock:
            if self._under_way.pop(one.number, None) is None:
                return
            self._held.append(one)
            if self._timer is None:
                self._timer = threading.Timer(_RETRY_S, self._try_again)
                self._timer.daemon = True
                self._timer.start()

    def _try_again(self) -> None:
        try:
            self._find_variant()
        except Exception as error:
            self._flow.fail(error)
            return
        with self._lock:
            held, self._held = self._held, []
            self._timer = None
        for one in held:
            self._start(_Input(self, one.number, one.body))

    def _find_variant(self) -> None:
        if self._is_variant_lost:
            self._is_variant_lost = False
            self._variant_id = _variant.id_of(self._app, self._variant)


class _FlowWaiter(_calls.Waiter):
    """Done while the flow has something to take."""

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow, wake: Callable[[], object]) -> None:
        self._flow = flow
        self.wake = wake

    @property
    def done(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self._flow.is_idle()


def _nothing() -> None:
    pass


def _lost() -> BaseException:
    return UnavailableError("the connection to the server was lost during the call")
