"""``ember schedule``: functions that the server runs by itself."""

from __future__ import annotations

from ember._client import quote, shared

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def list_schedules(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember schedule list``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json("/api/v1/schedules")
    if options.json:
        _terminal.document(document)
        return _exit.OK
    _terminal.table(
        [_row(schedule) for schedule in document["schedules"]],
        ["function", "schedule", "next", "last", "call", "state", "skipped", "missed"],
        right=["skipped", "missed"],
        cut_column="schedule",
        empty="no schedules; next: @app.function(schedule=ember.Cron(...)) and ember deploy",
    )
    return _exit.OK


def _row(schedule: dict[str, Any]) -> dict[str, Any]:
    return {
        "function": f"{schedule['app']}.{schedule['function']}",
        "schedule": schedule["text"],
        "next": "paused" if schedule["paused"] else _terminal.clock(schedule["next_tick_ms"]),
        "last": _terminal.clock(schedule["last_tick_ms"]),
        "call": schedule["last_call_id"] or "",
        "state": schedule["last_call_state"] or "",
        "skipped": schedule["skipped"],
        "missed": schedule["missed_ticks"],
    }


def run_schedule(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember schedule run``."""
    answer, json = _ask("run", prog, summary, argv)
    if json:
        _terminal.document(answer)
        return _exit.OK
    _terminal.data(answer["call_id"])
    _terminal.say(f"next: ember call result {answer['call_id']} --wait")
    return _exit.OK


def pause_schedule(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember schedule pause``."""
    return _say_state("pause", prog, summary, argv)


def resume_schedule(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember schedule resume``."""
    return _say_state("resume", prog, summary, argv)


def _say_state(verb: str, prog: str, summary: str, argv: list[str]) -> int:
    answer, json = _ask(verb, prog, summary, argv)
    if json:
        _terminal.document(answer)
        return _exit.OK
    state = "paused" if answer["paused"] else "runs by its schedule"
    _terminal.tick(f"{answer['app']}.{answer['function']} {state}")
    return _exit.OK


def _ask(verb: str, prog: str, summary: str, argv: list[str]) -> tuple[dict[str, Any], bool]:
    parser = Parser(prog, summary)
    parser.add_argument(
        "function", metavar="APP.FUNCTION", help="as `ember schedule list` shows it"
    )
    parser.add_json()
    options = parser.parse_args(argv)
    word = options.function
    app, _, function = word.partition("/" if "/" in word else ".")
    if not function:
        raise usage_error(f"{word!r} names no function", next_step="ember schedule list")
    path = f"/api/v1/apps/{quote(app)}/functions/{quote(function)}/schedule/{verb}"
    return shared().post_json(path), options.json
