"""An app with room for one call that runs and one that waits."""

import time

import ember

app = ember.App("narrow")


@app.function(queue_limit=1, max_containers=1)
def wait_for_long() -> None:
    time.sleep(600)
