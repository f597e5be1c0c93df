"""Two functions that need a GPU each, of which one calls the other."""

from __future__ import annotations

import ember

app = ember.App("one-device")


@app.function(gpu="L4", scaledown_window=1)
def on_the_device() -> str:
    return "done"


@app.function(gpu="L4", scaledown_window=1)
def holds_the_device() -> str:
    return on_the_device.remote()
