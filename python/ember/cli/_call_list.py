"""``ember call list``, ``show`` and ``cancel``: the calls of the recent past."""

from __future__ import annotations

from ember._client import JSON, shared
from ember._watching import progress_line
from ember.exception import ConflictError, NotEnded, PendingError

from . import _call_progress, _exit, _failure, _report, _terminal
from ._app import get_app
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._client import Reply

_WAIT_MS = 30_000  # of one question


def list_calls(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call list``."""
    parser = Parser(prog, summary)
    parser.add_argument("--app", help="only of this app")
    parser.add_argument(
        "--state",
        choices=["succeeded", "failed", "timed_out", "cancelled", "dead"],
        help="spawned calls that ended so; dead: failed or timed out, after all retries",
    )
    parser.add_argument("--limit", type=int, default=50, help="default: %(default)s")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(
        "/api/v1/calls", app=options.app, state=options.state, limit=options.limit
    )
    if options.app and not document["calls"]:
        get_app(options.app)  # or the error that there is none
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "call": call["call_id"],
            "function": f"{call['app']}.{call['function']}",
            "state": call["state"],
            "start": _report.start_of(call),
            "arrived": _terminal.ago(call["arrived_ms"]),
            "took": _terminal.seconds(call["total_us"] / 1e6) if call["total_us"] else "",
            "done": _call_progress.done(call),
            "usd": _terminal.money(call["cost_usd"]),
        }
        for call in document["calls"]
    ]
    start = "done" if any(row["done"] for row in rows) else "start"
    _terminal.table(
        rows,
        ["call", "function", "state", start, "arrived", "took", "usd"],
        right=["done", "took", "usd"],
        cut_column="function",
        empty=_no_calls(options.app, options.state),
    )
    return _exit.OK


def _no_calls(app: str | None, state: str | None) -> str:
    if state:
        return f"no {state} calls{f' of {app}' if app else ''}"
    return f"no recent calls of {app}" if app else "no calls yet; next: ember call APP.FUNCTION"


def show_result(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call result``."""
    parser = Parser(prog, summary)
    parser.add_argument("id", help="as `ember call APP.FUNCTION --spawn` prints it")
    parser.add_argument("--wait", action="store_true", help="until it has ended")
    parser.add_json()
    options = parser.parse_args(argv)
    try:
        with _call_progress.ProgressShown(options.id):
            reply = _result(options.id, wait=options.wait)
    except BaseException as error:
        if _failure.is_user_s(error):
            raise _failure.failed(options.id, error) from error
        raise
    if options.json:
        import json

        _terminal.document({"call_id": options.id, "result": json.loads(reply.body)})
    else:
        from ._call import result_text

        _terminal.data(result_text(reply.body))
    return _exit.OK


def _result(call_id: str, *, wait: bool) -> Reply:
    """The outcome, as JSON; a pickle's code is not run here."""
    while True:
        reply = shared().call_result(call_id, _WAIT_MS if wait else 0, unpickle=False)
        if not isinstance(reply, NotEnded):
            break
        if not wait:
            raise PendingError(f"{reply.why}; wait for it with --wait", call_id=call_id)
    if reply.headers.get("content-type") != JSON:
        raise usage_error(
            f"{call_id} was spawned in Python, and its result is a Python object",
            next_step=f"in Python: ember.FunctionCall.from_id({call_id!r}).get()",
        )
    return reply


def retry_calls(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call retry``."""
    parser = Parser(prog, summary)
    parser.add_argument("ids", nargs="+", metavar="ID", help="of spawned calls that have ended")
    parser.add_json()
    options = parser.parse_args(argv)
    made = [
        {"retried": one, **shared().post_json(f"/api/v1/calls/{one}/retry")} for one in options.ids
    ]
    if options.json:
        _terminal.document({"calls": made})
        return _exit.OK
    for call in made:
        _terminal.tick(f"{call['retried']} runs again as {call['call_id']}")
    return _exit.OK


def show_call(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call show``."""
    parser = Parser(prog, summary)
    parser.add_argument("id", help="as `ember call list` shows it")
    parser.add_json()
    options = parser.parse_args(argv)
    call = _report.call_of(options.id)
    try:
        cost = _report.cost_of(options.id)
    except ConflictError:  # it has not ended
        cost = None
    if options.json:
        _terminal.document({**call, "cost": cost})
        return _exit.OK
    _show(call, cost)
    return _exit.OK


def _show(call: dict[str, Any], cost: dict[str, Any] | None) -> None:
    lines = {
        "call": call["call_id"],
        "function": f"{call['app']}.{call['function']}",
        "state": call["state"],
        "why": call.get("reason"),
        "progress": progress_line(call.get("progress")),
        "arrived": _terminal.ago(call["arrived_ms"]),
        "start": _report.start_of(call),
        "container": call.get("container_id"),
        "attempt": call.get("attempt"),
        "gpu": _report.gpu_of(cost) if cost else None,
        "error": _error_text(call.get("error")),
        "made by": call.get("parent_call_id"),
    }
    for name, value in lines.items():
        if value:
            _terminal.data(f"{name:<10}{value}")
    for phase, ms in call["phases_ms"].items():
        if ms:
            _terminal.data(f"{phase:<10}{_terminal.milliseconds(ms)}")
    if start := call.get("start_us"):
        steps = (f"{name} {_terminal.milliseconds(us / 1000)}" for name, us in start.items())
        _terminal.data(f"{'start':<10}{', '.join(steps)}")
    if cost:
        _show_cost(cost)


def _show_cost(cost: dict[str, Any]) -> None:
    execute, start = cost["cost_usd"], cost["start_cost_usd"]
    _terminal.data(
        f"{'price':<10}{_terminal.money(_report.plus(execute, start))} "
        f"(execute {_terminal.money(execute)}, start {_terminal.money(start)})"
    )
    rows = [
        {
            **row,
            "gpu": row["gpu"] or "CPU",
            "usd": _terminal.money(row["usd"]),
            "per_hour": _terminal.money(row["price_per_hour_usd"]),
            "since": row["valid_from"],
        }
        for row in cost["elsewhere"]
    ]
    if rows:
        _terminal.data("")
        _terminal.table(
            rows,
            ["provider", "gpu", "usd", "per_hour", "since", "note"],
            right=["usd", "per_hour"],
            cut_column="note",
        )


def _error_text(error: object) -> str:
    if isinstance(error, dict):
        return f"{error.get('code')}: {error.get('message')}"
    return str(error) if error else ""


def cancel_call(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call cancel``."""
    parser = Parser(prog, summary)
    parser.add_argument("id", help="as `ember call list` shows it")
    options = parser.parse_args(argv)
    shared().post_json(f"/api/v1/calls/{options.id}/cancel")
    _terminal.tick(f"{options.id} cancelled")
    return _exit.OK
