"""Imports on the caller's machine and fails to in a container."""

import ember

app = ember.App("imports-only-here")

if not ember.is_local():
    raise RuntimeError("not at home in a container")


@app.function()
def hello() -> str:
    return "hello"
