"""Functions that the server runs by itself."""

from __future__ import annotations

import ember

app = ember.App("ticks")


@app.function(schedule=ember.Period(seconds=1, overlap="allow"))
def often(_how: str = "by itself") -> str:
    return _how


@app.function(schedule=ember.Period(seconds=1))
def beside() -> None:
    pass


@app.function(schedule=ember.Cron("0 6 1 1 *", timezone="Europe/Berlin"))
def yearly() -> str:
    return "a year has passed"
