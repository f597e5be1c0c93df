"""What a container finds in its file system."""

from __future__ import annotations

from pathlib import Path

import ember

app = ember.App("reads-files")


@app.function()
def read(path: str) -> str:
    """Return the text of a file."""
    return Path(path).read_text()
