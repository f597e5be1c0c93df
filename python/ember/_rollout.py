"""Waiting until a version that was made serves."""

from __future__ import annotations

import time

from ember import _client
from ember.exception import ConflictError, InvalidArgumentError, StartFailedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._client import Client
    from ember._deploy import Progress

STRATEGIES = ("rolling", "recreate")
_LOOK_EVERY_S = 0.1


def checked(strategy: str) -> str:
    """Returns the strategy, if it is one."""
    if strategy not in STRATEGIES:
        raise InvalidArgumentError(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
    return strategy


def wait_until_served(answer: dict[str, Any], client: Client, tell: Progress) -> dict[str, Any]:
    """The answer of a deploy, once its version serves; raises if that is withdrawn.

    Meanwhile the version before it serves, and goes on if this one's containers do not come up.
    """
    app, version = answer["app"], answer["version"]
    if answer["serving"] == version:
        return answer
    told = ""
    while True:
        document = client.get_json(_client.app_path(app))
        rollout = document["rollout"]
        if rollout is None or rollout["version"] != version:
            break
        if rollout["waits_for"] != told:
            told = rollout["waits_for"]
            tell("rollout", told)
        time.sleep(_LOOK_EVERY_S)
    if document["version"] < version:
        raise _withdrawn(app, version, document["version"], client)
    return {**answer, "serving": document["version"]}


def _withdrawn(app: str, version: int, serving: int, client: Client) -> Exception:
    versions = client.get_json(_client.app_path(app, "history"))["versions"]
    reason = next((one["reason"] for one in versions if one["version"] == version), "")
    text = f"version {version} of {app} was withdrawn: {reason}; version {serving} serves as before"
    return StartFailedError(text) if "came up" in reason else ConflictError(text)
