"""An app that waits, for whoever interrupts it; `ready` is said once it runs in a container."""

import time

import ember

app = ember.App("waiting")


@app.function()
def wait_for_long() -> None:
    print("ready", flush=True)
    time.sleep(600)
