"""What the runner of a container for a shell serves, in the place of its user's code."""

from __future__ import annotations

import os

import ember

app = ember.App("shell")


@app.function()
def container_id() -> str:
    """Where the shell is to go: the id of the container that this runs in."""
    return os.environ["EMBER_CONTAINER_ID"]
