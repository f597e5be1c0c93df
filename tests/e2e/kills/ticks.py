"""Schedules under kills: each tick is one call, or counted as missed while no server was there."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from kills.records import records_of

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from kills.ends import Outage

APP = "ticks-under-kills"
FUNCTIONS = ("skips", "makes_up", "each_minute")
_US = 1_000_000
_PERIOD_US = {"skips": 1 * _US, "makes_up": 2 * _US, "each_minute": 60 * _US}
_SLACK_US = 1 * _US  # around an outage: when a tick is due and when it is called


def check(data: Path, outages: list[Outage]) -> tuple[list[str], Counter[str]]:
    """What the store of a server that is down has of ticks otherwise than it should."""
    run: dict[str, list[int]] = defaultdict(list)
    of_ticks = "SELECT * FROM calls WHERE idempotency_key LIKE 'ember:tick/%'"
    for row in records_of(data, of_ticks):
        run[row["function"]].append(int(row["idempotency_key"].rpartition("/")[2]))
    schedules = {row["function"]: row for row in records_of(data, "SELECT * FROM schedules")}
    found: list[str] = []
    counts: Counter[str] = Counter()
    for name in FUNCTIONS:
        if name not in schedules:
            found.append(f"the schedule of {name} is lost")
            continue
        ticks = _ticks_of(name, schedules[name])
        missed = ticks - set(run[name])
        counts["ticks that were run"] += len(run[name])
        counts["ticks that were missed"] += len(missed)
        if stray := set(run[name]) - ticks:
            found.append(f"{name} was run at {sorted(stray)}, which are no ticks of it")
        if len(missed) != schedules[name]["missed"]:
            told = f"{len(missed)} ticks were not run, and {schedules[name]['missed']} are counted"
            found.append(f"{name}: {told}")
        if schedules[name]["skipped"]:
            found.append(f"{name} was skipped, although it may overlap")
        for tick in sorted(missed):
            if not any(_was_down(outage, tick) for outage in outages):
                found.append(f"{name} was not run at {tick}, while the server was there")
    return found, counts


def _ticks_of(name: str, schedule: sqlite3.Row) -> set[int]:
    """From its deploy until the last that was handled."""
    period_us = _PERIOD_US[name]
    anchor_us = schedule["anchor_us"]
    if name == "each_minute":
        anchor_us -= anchor_us % period_us
    return set(range(anchor_us + period_us, schedule["handled_us"] + 1, period_us))


def _was_down(outage: Outage, tick_us: int) -> bool:
    began_us, ended_us = outage.began_s * _US - _SLACK_US, outage.ended_s * _US + _SLACK_US
    return "serve" in outage.targets and began_us <= tick_us <= ended_us
