"""A first function.

ember run examples/hello.py --name Ada      # an app for this once
ember deploy examples/hello.py              # a version that stays, with a URL
ember call hello.greet Ada
"""

from __future__ import annotations

import platform

import ember

app = ember.App("hello")


@app.function()
def greet(name: str) -> str:
    """Runs in a container: what it prints is logged, what it returns goes to the caller."""
    print(f"greeting {name} from {platform.node()}")
    return f"Hello, {name}!"


@app.local_entrypoint()
def main(name: str = "world") -> None:
    """Runs here; its parameters are options of `ember run`."""
    print(greet.remote(name))
