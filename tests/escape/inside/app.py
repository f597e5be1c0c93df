"""The app that tries to get out. What it tries is in the modules beside it."""

import os
from typing import Any, Literal

import attempts
import ember

app = ember.App("escape")
# That of the node, where it is not asked for.
isolation: Literal["gvisor"] | None = (
    "gvisor" if os.environ.get("ESCAPE_ISOLATION") == "gvisor" else None
)


@app.function(memory=256, max_containers=1, isolation=isolation, scaledown_window=300)
def attempt(name: str, given: dict) -> dict[str, Any]:
    return attempts.outcome(name, given)


@app.function(memory=256, isolation=isolation, scaledown_window=300)
def another_container() -> str:
    return "it runs"


@app.function(memory=256, isolation=isolation, scaledown_window=300)
def one_more_container() -> str:
    return "it runs"
