"""An app whose one container serves one long call after the other."""

import time

import ember

app = ember.App("one_by_one")


@app.function(max_containers=1)
def wait() -> None:
    time.sleep(600)
