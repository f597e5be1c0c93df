"""An app whose image the environment chooses: what its container sees."""

from __future__ import annotations

import os
import subprocess
import sys

import ember
import images_to_try

app = ember.App("imaged", image=images_to_try.chosen())


@app.function(timeout=60)
def look(paths: list[str]) -> dict[str, object]:
    """The container's Python, directory and environment, and what is in these files."""
    texts: dict[str, str | None] = {}
    for path in paths:
        try:
            with open(path) as file:
                texts[path] = file.read()
        except OSError as error:
            texts[path] = error.strerror
    return {
        "python": sys.executable,
        "version": list(sys.version_info[:2]),
        "directory": os.getcwd(),
        "env": dict(os.environ),
        "texts": texts,
        "user": [os.getuid(), os.getgid()],
    }


@app.function(timeout=60)
def run(command: str) -> list[object]:
    """A shell command's status and output."""
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout + done.stderr]
