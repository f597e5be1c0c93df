"""Calls for later and maps, by callers who ask again until they know how each has ended.

What was accepted ends in exactly one way, whatever is killed: as its caller was told, so it stands
on disk when all is over.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import ember
from ember.exception import ContainerCrashedError, StartFailedError, UnavailableError

from kills.records import id_text, records_of
from kills.sent import APP, CALL_LIMIT_S, Door, Sent

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

JOB, MAP = "job", "map"  # what the keys of their calls begin with
JOB_LIMIT_S = 3 * CALL_LIMIT_S
_REST_S = 0.2  # before what did not come through is asked again
_WAIT_MS = 2000
_MAPPED = 6  # inputs of a map
_NOT_NOW = (429, 503)


# --- calls for later ------------------------------------------------------------------------------


def spawn(door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """One call for later: accepted once, and looked at until it has ended."""
    return _spawn(door, Sent(function, token, time.time(), is_told=bool(door.told)), seconds)


def spawn_and_cancel(door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """One that is withdrawn as soon as it is accepted."""
    return _spawn(door, Sent(function, token, time.time(), is_withdrawn=True), seconds)


def _spawn(door: Door, sent: Sent, seconds: float | None) -> Sent:
    path = f"/fn/{APP}/{sent.function}?mode=async"
    if sent.is_told:
        path += f"&webhook={quote(door.told, safe='')}"
    body = {"token": sent.token, "seconds": seconds}
    status, document = _ask_until(door, "POST", path, body, key=f"{JOB}/{sent.token}")
    if status == 202:
        sent.call_id = document["call_id"]
        sent.kept = [sent.call_id]
        if sent.is_withdrawn:
            _ask_until(door, "POST", f"/api/v1/calls/{sent.call_id}/cancel")
        path = f"/api/v1/calls/{sent.call_id}/result?wait_ms={_WAIT_MS}"
        status, document = _ask_until(door, "GET", path, until_it_ends=True)
    sent.ended_s = time.time()
    if status == 200:
        is_its_own = document[0] == sent.token
        sent.outcome = "result" if is_its_own else "a result of another call"
    elif status and isinstance(document, dict) and "error" in document:
        sent.outcome = document["error"]["code"]
        sent.detail = document["error"]["message"]
    else:
        sent.outcome, sent.detail = "no end", f"{status} {document}"
    return sent


def _ask_until(
    door: Door,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str = "",
    until_it_ends: bool = False,
) -> tuple[int, Any]:
    """Asks again as long as nobody answers, or not now; status and document, 0 for none in time."""
    deadline_s = time.monotonic() + JOB_LIMIT_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, document = _ask(door, method, path, body, key)
            if status not in _NOT_NOW and not (until_it_ends and status == 202):
                return status, document
            if status == 202:
                continue
        time.sleep(_REST_S)
    return 0, None


def _ask(door: Door, method: str, path: str, body: Any, key: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {door.key}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    connection = http.client.HTTPConnection(door.host, timeout=CALL_LIMIT_S)
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


# --- maps -----------------------------------------------------------------------------------------


def map_all(_door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """A map over one connection, whose calls end with it."""
    sent = Sent(function, token, time.time())
    tokens = [f"{token}/{number}" for number in range(_MAPPED)]
    try:
        given = list(
            ember.Function.from_name(APP, function).map(
                tokens, kwargs={"seconds": seconds}, return_exceptions=True
            )
        )
    except UnavailableError as error:
        sent.outcome, sent.detail = "unavailable", str(error)
    else:
        _judge(sent, tokens, given)
    sent.ended_s = time.time()
    return sent


def spawn_map(_door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """A durable map, resumed until all of it is done."""
    sent = Sent(function, token, time.time())
    tokens = [f"{token}/{number}" for number in range(_MAPPED)]
    deadline_s = time.monotonic() + JOB_LIMIT_S
    sent.outcome = "no end"
    while sent.outcome != "result" and time.monotonic() < deadline_s:
        try:
            handle = ember.Function.from_name(APP, function).spawn_map(
                tokens, kwargs={"seconds": seconds}, resume=f"{MAP}/{token}"
            )
            sent.kept += [call.call_id for call in handle.calls if call.call_id not in sent.kept]
            _judge(sent, tokens, list(handle.results(return_exceptions=True)))
        except UnavailableError as error:
            sent.detail = str(error)
        if sent.outcome not in ("result", "no end", "container_crashed", "unavailable"):
            break
        if sent.outcome != "result":
            time.sleep(_REST_S)
    sent.ended_s = time.time()
    return sent


def _judge(sent: Sent, tokens: list[str], given: list[Any]) -> None:
    sent.outcome = "result" if len(given) == len(tokens) else "another number of results"
    for token, value in zip(tokens, given):
        if isinstance(value, UnavailableError):
            sent.outcome, sent.detail = "unavailable", str(value)
        elif isinstance(value, (ContainerCrashedError, StartFailedError)):
            sent.outcome, sent.detail = "container_crashed", str(value)
        elif isinstance(value, Exception):
            sent.outcome, sent.detail = "failed otherwise", repr(value)
            return
        elif value[0] != token:
            sent.outcome, sent.detail = "a result of another call", f"{value} for {token}"
            return


# --- afterwards -----------------------------------------------------------------------------------


def check(data: Path, calls: list[Sent]) -> tuple[list[str], int]:
    """What the store of a server that is down has of them otherwise than they were told, and how
    many calls for later it has."""
    rows = {id_text("fc-", row["id"]): row for row in records_of(data, "SELECT * FROM calls")}
    found = [
        f"{call} is accepted and has no end" for call, row in rows.items() if not row["ended_us"]
    ]
    accepted = {call for sent in calls for call in sent.kept}
    found += [f"{call} was accepted and is lost" for call in accepted if call not in rows]
    keys = {f"{JOB}/{sent.token}" for sent in calls} | {f"{MAP}/{sent.token}" for sent in calls}
    for call, row in rows.items():
        key: str = row["idempotency_key"]
        of_a_map = key.startswith(f"{MAP}/") and "/".join(key.split("/")[:2]) in keys
        if not (key in keys or of_a_map or key.startswith("ember:tick/")):
            found.append(f"{call} of {row['function']} is nobody's: its key is {key!r}")
    found += [told for sent in calls for told in _held_against(sent, rows)]
    return found, len(rows)


def _held_against(sent: Sent, rows: dict[str, sqlite3.Row]) -> list[str]:
    row = rows.get(sent.call_id)
    if not sent.kept or row is None:
        return []
    is_done = row["state"] == "succeeded"
    if is_done != (sent.outcome == "result"):
        return [f"the store says {row['state']} of {sent}"]
    if is_done and json.loads(row["result"])[0] != sent.token:
        return [f"the store has another result of {sent}: {row['result']}"]
    return []
