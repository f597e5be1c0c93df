"""Calls that run whoever waits for them: started now, looked at or waited for at any time later."""

from __future__ import annotations

from ember import _context, _invoke, _json
from ember._aio import blocking
from ember.exception import InvalidArgumentError, NotEnded, PendingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._function import Function

_WAIT_S = 30.0  # of one question
_MAX_TTL_S = 7 * 24 * 3600
_MAX_PRIORITY = 10


class FunctionCall:
    """One call, by its id: in another process too, and until its outcome is forgotten (a week)."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id

    @staticmethod
    def from_id(call_id: str) -> FunctionCall:
        """The call with this id. Asks no server: a wrong one shows when it is used."""
        if not isinstance(call_id, str) or not call_id.startswith("fc-"):
            raise InvalidArgumentError(f"{call_id!r} is no call's id: they begin with fc-")
        return FunctionCall(call_id)

    @blocking
    def get(self, timeout: float | None = None) -> Any:
        """Its result once it has ended, or what it raised.

        PendingError, which is a TimeoutError, if it has not after `timeout` seconds; 0 looks once.
        """
        from time import monotonic

        deadline_s = None if timeout is None else monotonic() + timeout
        while True:
            left_s = _WAIT_S if deadline_s is None else max(0.0, deadline_s - monotonic())
            found = outcome(self.call_id, min(left_s, _WAIT_S), to_the_end=deadline_s is None)
            if not isinstance(found, NotEnded):
                return found
            if deadline_s is not None and monotonic() >= deadline_s:
                raise PendingError(found.why, call_id=self.call_id)

    @blocking
    def cancel(self) -> None:
        """Withdraws it; what runs is interrupted. ConflictError if it has ended."""
        _client("cancelled").post_json(f"/api/v1/calls/{self.call_id}/cancel")

    @blocking
    def status(self) -> dict[str, Any]:
        """Its state, phases and price, and why it waits, as `ember call show --json` has them."""
        return _client("looked at").get_json(f"/api/v1/calls/{self.call_id}")

    @blocking
    def get_progress(self) -> dict[str, Any] | None:
        """What it last said by `ember.progress`: step, total, metrics, at_ms. None for nothing."""
        return _client("looked at").get_json(f"/api/v1/calls/{self.call_id}")["progress"]

    @blocking
    def get_graph(self) -> dict[str, Any]:
        """It and all that it has called, as a tree: `ember call graph --json`."""
        return _client("looked at").get_json(f"/api/v1/calls/{self.call_id}/graph")["call"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionCall) and other.call_id == self.call_id

    def __hash__(self) -> int:
        return hash(self.call_id)

    def __repr__(self) -> str:
        return f"<ember.FunctionCall {self.call_id}>"


class Spawn:
    """`fn.spawn(...)` starts a call that needs nobody to wait for it, and returns its handle."""

    __slots__ = ("_function", "_options")

    def __init__(self, function: Function[..., Any], options: dict[str, object]) -> None:
        self._function = function
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> FunctionCall:
        """The call is on the server's disk when this returns."""
        return self.spawn(args, kwargs)[0]

    def spawn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[FunctionCall, bool]:
        """The call, and whether its idempotency key had made it before."""
        function = self._function
        function.refuse_as_generator()
        answer = _invoke.spawn(
            function.app_name, function.name, args, kwargs, self._options, function.variant
        )
        return FunctionCall(answer["call_id"]), answer["repeated"]

    async def aio(self, *args: Any, **kwargs: Any) -> FunctionCall:
        """The same for async code: await it."""
        import asyncio

        return await asyncio.to_thread(self, *args, **kwargs)

    def with_options(
        self,
        *,
        idempotency_key: str | None = None,
        ttl: float | None = None,
        webhook: str | None = None,
        priority: int | None = None,
    ) -> Spawn:
        """For the calls made through what this returns.

        idempotency_key: the same call again gives the handle of the first, not another call.
        ttl: seconds in which it has to start; it fails if it does not.
        webhook: a URL that is told of its end, by a signed POST.
        priority: -10 to 10; of the function's waiting calls the highest go first.
        """
        options: dict[str, object] = dict(self._options)
        if idempotency_key is not None:
            if not isinstance(idempotency_key, str) or not 0 < len(idempotency_key) <= 255:
                raise InvalidArgumentError("idempotency_key: 1 to 255 characters")
            if not idempotency_key.isascii() or not idempotency_key.isprintable():
                raise InvalidArgumentError("idempotency_key: printable ASCII characters only")
            options["idempotency_key"] = idempotency_key
        if ttl is not None:
            if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
                raise InvalidArgumentError(f"ttl: expected seconds, got {type(ttl).__name__}")
            if not 0.001 <= ttl <= _MAX_TTL_S:
                raise InvalidArgumentError(f"ttl: {ttl} is not between 0.001 and {_MAX_TTL_S}")
            options["ttl_ms"] = round(ttl * 1000)
        if webhook is not None:
            if not isinstance(webhook, str) or not webhook.startswith(("https://", "http://")):
                raise InvalidArgumentError(f"webhook: {webhook!r} is no URL of https or http")
            options["webhook"] = webhook
        if priority is not None:
            if isinstance(priority, bool) or not isinstance(priority, int):
                raise InvalidArgumentError("priority: expected a whole number")
            if not -_MAX_PRIORITY <= priority <= _MAX_PRIORITY:
                raise InvalidArgumentError(f"priority: {priority} is not between -10 and 10")
            options["priority"] = priority
        return Spawn(self._function, options)


def gather(*calls: FunctionCall) -> list[Any]:
    """The results of them all, in this order; raises what the first of them that failed raised."""
    return [call.get() for call in calls]


def outcome(call_id: str, wait_s: float, *, to_the_end: bool) -> Any:
    """The result, or NotEnded; raises what the function raised, be it a PendingError of its own.

    to_the_end: who asks goes on with nothing else before it.
    """
    wait_ms = round(wait_s * 1000)
    if _context.in_container:
        from ember.runner import _calls

        body = _calls.result(call_id, wait_ms, to_the_end=to_the_end)
        return body if isinstance(body, NotEnded) else _invoke.unpickled(body)
    from ember import _client

    reply = _client.shared().call_result(call_id, wait_ms)
    if isinstance(reply, NotEnded):
        return reply
    if reply.headers.get("content-type") == _client.PICKLE:
        return _invoke.unpickled(reply.body)
    if reply.headers.get("content-type") == _client.JSON:
        return _json.loads(reply.body)
    return reply.body


def _client(what: str) -> Any:
    if _context.in_container:
        raise InvalidArgumentError(f"a call can't be {what} from inside a container yet")
    from ember import _client as client

    return client.shared()
