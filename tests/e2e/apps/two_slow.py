"""An app with two functions that are busy for long, and one that is not."""

import time

import ember

app = ember.App("two_slow")


@app.function(max_containers=1)
def one() -> None:
    time.sleep(600)


@app.function(max_containers=1)
def two() -> None:
    time.sleep(600)


@app.function()
def quick() -> str:
    return "here"
