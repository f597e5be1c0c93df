"""A directory with an app, the image that a test chooses for it, and files beside it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from conftest import APPS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server


class Project:
    """What one test deploys, always as the app "imaged" (apps/imaged.py)."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        shutil.copy(APPS / "imaged.py", directory / "imaged.py")

    def choose(self, image: str) -> None:
        """Has the app use this image, written in Python."""
        text = f"import ember\n\n\ndef chosen() -> ember.Image:\n    return (\n        {image}\n    )\n"
        (self.directory / "images_to_try.py").write_text(text)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def deploy(self, image: str, *, status: int = 0) -> str:
        """What `ember deploy` wrote to stderr."""
        self.choose(image)
        return self.server.cli(
            "deploy", "imaged.py", "--strategy", "recreate", status=status, cwd=self.directory
        ).stderr

    def look(self, *paths: str) -> Any:
        return self.server.result("imaged", "look", paths=list(paths))

    def text(self, path: str) -> str:
        """What a file of the container's holds, or why it cannot be read."""
        return self.look(path)["texts"][path]

    def run(self, command: str) -> Any:
        """A shell command's status and output."""
        return self.server.result("imaged", "run", command=command)
