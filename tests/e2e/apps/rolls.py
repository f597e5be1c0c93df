"""Deployed again and again under load; the test writes the version into it, and what breaks it."""

import os
import threading
import time

import ember

app = ember.App("rolls")

VERSION = 1
BROKEN = False
HANGS = False
SECONDS = 0.02

if BROKEN and "IN_CONTAINER" in os.environ:
    raise RuntimeError("there are no weights here")
if HANGS and "IN_CONTAINER" in os.environ:
    threading.Event().wait()


@app.function(max_containers=1, env={"IN_CONTAINER": "1"})
def alone() -> int:
    time.sleep(SECONDS)
    return VERSION


@app.function(max_containers=4, env={"IN_CONTAINER": "1"})
def several() -> int:
    time.sleep(SECONDS)
    return VERSION


@app.function(max_containers=1, env={"IN_CONTAINER": "1"})
def slow(seconds: float) -> int:
    print(f"version {VERSION} begins")
    time.sleep(seconds)
    return VERSION
