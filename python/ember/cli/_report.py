"""The end of every call: its price, where the time went, what it would cost elsewhere."""

from __future__ import annotations

from ember._client import shared
from ember.exception import EmberError

from . import _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_CHEAPEST = 3
_MAX_CALLS = 50
MOST_LISTED = 1_000  # calls, as the server lists them


def cost_of(call_id: str) -> dict[str, Any]:
    """Return the server's document on what a call cost."""
    return shared().get_json(f"/api/v1/calls/{call_id}/cost")


def call_of(call_id: str) -> dict[str, Any]:
    """Return the server's document on a call."""
    return shared().get_json(f"/api/v1/calls/{call_id}")


def gpu_of(cost: dict[str, Any]) -> str:
    """Return the GPU of a call, which the server marks where it is simulated, or CPU."""
    return cost["gpu"] or "CPU"


def report(call_ids: Sequence[str], *, with_prices: bool) -> None:
    """Write the report of the calls, to stderr. Beyond some, only the first are looked at."""
    shown = list(call_ids)[:_MAX_CALLS]
    if not shown:
        return
    calls = [call_of(call_id) for call_id in shown]
    costs = [cost_of(call_id) for call_id in shown]
    _terminal.say(_price_line(calls, costs))
    _terminal.say(_time_line(calls))
    if len(call_ids) > len(shown):
        count = f"{len(call_ids)}{' or more' if len(call_ids) >= MOST_LISTED else ''}"
        _terminal.say(f"(the first {len(shown)} of {count} calls; `ember cost` sums all)")
    if with_prices:
        _elsewhere(costs)


def report_failed(find_call_ids: Callable[[], Sequence[str]]) -> None:
    """Write the report of calls that failed; one that cannot be had must not hide the failure."""
    try:
        report(find_call_ids(), with_prices=False)
    except EmberError:
        return


def start_of(call: dict[str, Any]) -> str | None:
    """Return how the call met its container; nothing if it came to none."""
    return None if call["cold"] is None else "cold" if call["cold"] else "warm"


def _price_line(calls: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    count = f"{len(calls)} call{'s' if len(calls) > 1 else ''}"
    execute, start = total(costs, "cost_usd"), total(costs, "start_cost_usd")
    parts = [count, f"{_terminal.money(plus(execute, start))}"]
    if _is_nonzero(start):
        parts.append(f"execute {_terminal.money(execute)} + start {_terminal.money(start)}")
    gpus = sorted({gpu_of(cost) for cost in costs})
    parts.append(", ".join(gpus))
    starts = {start_of(call) for call in calls}
    parts += [start for start in ("cold", "warm") if start in starts][:1]
    return _terminal.style(
        " · ".join(parts) if _terminal.symbol("·", "") else " | ".join(parts), "bold"
    )


def _time_line(calls: list[dict[str, Any]]) -> str:
    queued_us = sum(call["queued_us"] for call in calls)
    execute_us = sum(call["execute_us"] for call in calls)
    starts = [
        f"{phase} {_terminal.milliseconds(ms)}"
        for phase in ("boot", "load")
        if (ms := sum(call["phases_ms"][phase] for call in calls))
    ]
    start = f" ({', '.join(starts)})" if starts else ""
    queued = _terminal.seconds(queued_us / 1e6)
    return f"  time   queue {queued}{start}, execute {_terminal.seconds(execute_us / 1e6)}"


def _elsewhere(costs: list[dict[str, Any]]) -> None:
    """Write what the calls would cost at the cheapest providers that could run all of them."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    seen: dict[tuple[str, str], int] = {}
    for cost in costs:
        for offer in cost["elsewhere"]:
            key = (offer["provider"], offer["gpu"])
            seen[key] = seen.get(key, 0) + 1
            row = rows.setdefault(key, {**offer, "usd": "0"})
            row["usd"] = plus(row["usd"], offer["usd"])
    offers = [row for key, row in rows.items() if seen[key] == len(costs)]
    offers.sort(key=lambda row: _nanos(row["usd"]))
    if not offers:
        return
    _terminal.say("  the same elsewhere, for its time here:")
    table = [
        {
            "provider": row["provider"],
            "gpu": row["gpu"] or "CPU",
            "this": _terminal.money(row["usd"]),
            "per_hour": _terminal.money(row["price_per_hour_usd"]),
            "since": row["valid_from"],
            "note": row["note"],
        }
        for row in offers[:_CHEAPEST]
    ]
    import sys

    _terminal.table(
        table,
        ["provider", "gpu", "this", "per_hour", "since", "note"],
        right=["this", "per_hour"],
        cut_column="note",
        stream=sys.stderr,
    )
    if len(offers) > _CHEAPEST:
        _terminal.say(
            f"  and {len(offers) - _CHEAPEST} dearer: ember call show {costs[0]['call_id']}"
        )


def total(documents: Sequence[dict[str, Any]], name: str) -> str:
    """Return the exact sum of a decimal field."""
    text = "0"
    for document in documents:
        text = plus(text, document[name])
    return text


def plus(left: str, right: str) -> str:
    """Return the exact sum of two decimal texts, with nine places."""
    nanos = _nanos(left) + _nanos(right)
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    return f"{sign}{nanos // 10**9}.{nanos % 10**9:09d}"


def _nanos(text: str) -> int:
    whole, _, fraction = text.partition(".")
    nanos = int(whole.lstrip("-") or "0") * 10**9 + int(fraction.ljust(9, "0")[:9])
    return -nanos if whole.startswith("-") else nanos


def _is_nonzero(text: str) -> bool:
    return _nanos(text) != 0
