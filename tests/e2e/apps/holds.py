"""An app that holds both devices of the fleet for as long as its call lasts."""

import time

import ember

app = ember.App("holds")


@app.function(gpu="L4:2")
def hold() -> None:
    time.sleep(600)
