"""Functions that the server runs by itself, while it is killed again and again."""

from __future__ import annotations

import ember

app = ember.App("ticks-under-kills")


@app.function(
    scaledown_window=1, max_containers=2,
    schedule=ember.Period(seconds=1, missed="skip", overlap="allow"),
)  # fmt: skip
def skips() -> None:
    """Leave out what was missed."""


@app.function(
    scaledown_window=1, max_containers=2,
    schedule=ember.Period(seconds=2, missed="run_once", overlap="allow"),
)  # fmt: skip
def makes_up() -> None:
    """Run the newest of what was missed."""


@app.function(
    scaledown_window=1, max_containers=2,
    schedule=ember.Cron("* * * * *", missed="run_once", overlap="allow"),
)  # fmt: skip
def each_minute() -> None:
    """Run at the full minutes."""
