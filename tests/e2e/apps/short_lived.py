"""A function whose container goes soon after its last call."""

import ember

app = ember.App("short-lived")


@app.function(gpu="L4", scaledown_window=1)
def f() -> str:
    return "done"
