"""Waiting for a version to serve, whatever becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from ember._rollout import check, wait_until_served
from ember.exception import ConflictError, InvalidArgumentError, StartFailedError, UnavailableError

MADE = {"app": "shop", "version": 7, "serving": 6}


class Server:
    """Answers with documents of the app, one after the other, and with its history."""

    def __init__(self, *documents: Any, history: dict[str, str] | None = None) -> None:
        self.documents = list(documents)
        self.history = history

    def get_json(self, path: str) -> dict[str, Any]:
        if not path.endswith("/history"):
            document = self.documents.pop(0)
            if isinstance(document, Exception):
                raise document
            return document
        return {"versions": [{"version": 7, **(self.history or {"state": "served", "reason": ""})}]}


def app(serving: int, waits_for: str | None = None, state: str = "deployed") -> dict[str, Any]:
    rollout = None if waits_for is None else {"version": 7, "waits_for": waits_for}
    return {"version": serving, "state": state, "rollout": rollout}


def wait(*documents: Any, **options: Any) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    client: Any = Server(*documents, **options)
    return wait_until_served(dict(MADE), client, lambda _, text: told.append(str(text))), told


def test_it_tells_what_it_waits_for_once_each() -> None:
    answer, told = wait(app(6, "one"), app(6, "one"), app(6, "two"), app(7))
    assert answer["serving"] == 7
    assert told == ["one", "two"]


def test_what_serves_at_once_is_not_asked_about() -> None:
    answer = {**MADE, "serving": 7}
    client: Any = Server()
    assert wait_until_served(answer, client, lambda *_: None) == answer


def test_a_server_that_restarts_goes_on_with_it() -> None:
    assert wait(app(6, "one"), UnavailableError("it is away"), app(7))[0]["serving"] == 7


def test_one_that_has_served_and_made_way_for_a_later_one_is_no_failure() -> None:
    assert wait(app(8))[0]["serving"] == 8


@pytest.mark.parametrize(
    ("serving", "reason", "kind", "told"),
    [
        (6, "no container of f came up: no", StartFailedError, "version 6 serves as before"),
        (8, "version 8 took its place", ConflictError, "took its place; version 8 serves$"),
    ],
)
def test_one_that_was_withdrawn_says_why(
    serving: int, reason: str, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=f"version 7 of shop was withdrawn: .*{told}"):
        wait(app(6, "one"), app(serving), history={"state": "withdrawn", "reason": reason})


def test_an_app_that_is_stopped_meanwhile_is_said_to_be() -> None:
    with pytest.raises(ConflictError, match="shop was stopped before its version 7 served"):
        wait(app(6, "one"), app(6, state="stopped"))


def test_a_strategy_is_one_of_two() -> None:
    check("recreate")
    with pytest.raises(InvalidArgumentError, match="rolling, recreate"):
        check("blue-green")
