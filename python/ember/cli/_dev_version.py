"""One version of an app that ``ember dev`` keeps up: the file as it is now, deployed."""

from __future__ import annotations

import hashlib
import json
import os

from . import _exit
from ._progress import Progress
from ._script import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from ember._app import App

    class Version(TypedDict):
        """What was made of the file."""

        app: str
        version: int
        functions: list[dict[str, Any]]  # name, function_id, url, web
        fingerprint: str  # of all that went into it
        root: str  # what its source is imported from
        directories: list[str]  # in which that lies


NO_VERSION: Version = {
    "app": "",
    "version": 0,
    "functions": [],
    "fingerprint": "",
    "root": "",
    "directories": [],
}
_SUFFIX = "-dev"
_MAX_NAME = 63
_WORTH_TELLING_S = 0.5


def make_version(file: str, name: str | None, unless: str, answer_to: int) -> int:
    """Deploy the file's app, unless it has that fingerprint; the answer is JSON to a descriptor."""
    from ember import _deploy, _source

    _, app = load(file)
    app.rename(name or app.name[: _MAX_NAME - len(_SUFFIX)] + _SUFFIX)
    specs = [function.spec() for function in app.functions.values()]
    source = _source.collect(sorted({spec["module"] for spec in specs}))
    made: Version = {
        **NO_VERSION,
        "app": app.name,
        "fingerprint": _fingerprint(app, source.files),
        "root": source.root,
        "directories": sorted({os.path.dirname(path) for path in source.files.values()}),
    }
    if made["fingerprint"] != unless:
        progress = Progress(at_least_s=_WORTH_TELLING_S)
        deployed = _deploy.deploy(app, ephemeral=True, progress=progress)
        made["version"], made["functions"] = deployed.version, deployed.functions
    with os.fdopen(answer_to, "w") as answer:
        json.dump(made, answer)
    return _exit.OK


def _fingerprint(app: App, files: dict[str, str]) -> str:
    """Return a digest of what the app is made of here."""
    digest = hashlib.sha256(app.name.encode())
    for path, local in sorted(files.items()):
        with open(local, "rb") as file:
            digest.update(f"{path}\0{hashlib.sha256(file.read()).hexdigest()}\0".encode())
    return digest.hexdigest()
