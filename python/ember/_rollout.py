"""Waiting until a version that was made serves."""

from __future__ import annotations

import time

from ember import _client
from ember.exception import ConflictError, InvalidArgumentError, StartFailedError, UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._client import Client
    from ember._deploy import Progress

STRATEGIES = ("rolling", "recreate")
_LOOK_EVERY_S = 0.1
_RESTART_S = 60.0  # that a server may be away for


def check(strategy: str) -> None:
    """Raises unless it is a strategy."""
    if strategy not in STRATEGIES:
        raise InvalidArgumentError(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")


def wait_until_served(answer: dict[str, Any], client: Client, tell: Progress) -> dict[str, Any]:
    """The answer of a deploy, once its version serves; raises if that is withdrawn.

    Meanwhile the version before it serves, and goes on if this one's containers do not come up.
    """
    app, version = answer["app"], answer["version"]
    if answer["serving"] == version:
        return answer
    told = ""
    while True:
        document = _looked_at(app, client)
        rollout = document["rollout"]
        if rollout is None or rollout["version"] != version:
            break
        if rollout["waits_for"] != told:
            told = rollout["waits_for"]
            tell("rollout", told)
        time.sleep(_LOOK_EVERY_S)
    serving = document["version"]
    if serving == version and document["state"] != "stopped":
        return {**answer, "serving": serving}
    if document["state"] == "stopped":
        raise ConflictError(f"{app} was stopped before its version {version} served")
    if reason := _why_withdrawn(app, version, client):
        now = f"version {serving} serves{' as before' if serving < version else ''}"
        text = f"version {version} of {app} was withdrawn: {reason}; {now}"
        raise StartFailedError(text) if "came up" in reason else ConflictError(text)
    return {**answer, "serving": serving}  # it has served, and a later one does


def _looked_at(app: str, client: Client) -> dict[str, Any]:
    """The app's document; a server that restarts meanwhile goes on with the rollout."""
    deadline_s = time.monotonic() + _RESTART_S
    while True:
        try:
            return client.get_json(_client.app_path(app))
        except UnavailableError:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(_LOOK_EVERY_S)


def _why_withdrawn(app: str, version: int, client: Client) -> str:
    """Empty for one that was not."""
    versions = client.get_json(_client.app_path(app, "history"))["versions"]
    found = next((one for one in versions if one["version"] == version), None)
    return found["reason"] if found is not None and found["state"] == "withdrawn" else ""
