"""Our side of coldstart: a function that does nothing and goes to zero at once, and one whose container stays."""

import ember

app = ember.App("bench-coldstart")


@app.function(max_containers=1, scaledown_window=0.001)
def nothing() -> None: ...


@app.function(min_containers=1, max_containers=1)
def pattern() -> None: ...
