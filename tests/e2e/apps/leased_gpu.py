"""Functions that want the device that a person leases."""

from __future__ import annotations

import time

import ember

app = ember.App("leased-gpu")


@app.function(gpu="L4", scaledown_window=1)
def hold(wait_s: float = 0.0) -> str:
    """Hold a whole device for a while."""
    time.sleep(wait_s)
    return "held"
