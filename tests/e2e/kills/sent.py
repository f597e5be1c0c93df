"""Single calls over HTTP, each on a connection of its own: what each was and how it ended.

A call ends in one of three ways: an answer of the function, an error with a code of Ember's, or the
end of its connection. The last may only be where the server was killed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL_LIMIT_S = 60.0  # much longer than any call takes, kills and starts counted
APP = "under-kills"
ITEMS = 5  # of a stream


@dataclass
class Sent:
    """One call, and how it ended."""

    function: str
    token: str
    began_s: float
    ended_s: float = 0.0
    outcome: str = ""  # "result", a code of Ember's, "refused", "ended" or what is wrong
    call_id: str = ""
    container: str = ""
    is_cold: bool = False
    detail: str = ""
    is_withdrawn: bool = False
    is_told: bool = False  # a webhook of its end
    kept: list[str] = field(default_factory=list)  # ids of calls for later that were accepted


@dataclass(frozen=True)
class Door:
    """Where the server is, over its restarts."""

    host: str
    key: str
    told: str = ""  # the URL of who is told of calls for later


def call(door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """One call that waits for its result."""
    body: dict[str, Any] = {"token": token}
    if seconds is not None:
        body["seconds"] = seconds
    return _send(door, Sent(function, token, time.time()), body, _take_result)


def stream(door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """One call of a generator function, whose items are read as they come."""
    body = {"token": token, "count": ITEMS, "seconds": seconds}
    return _send(door, Sent(function, token, time.time()), body, _take_items)


def _send(door: Door, sent: Sent, body: dict[str, Any], take: Any) -> Sent:
    connection = http.client.HTTPConnection(door.host, timeout=CALL_LIMIT_S)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError as error:
            sent.outcome, sent.detail = "refused", repr(error)
        else:
            _exchange(connection, door, sent, body, take)
    sent.ended_s = time.time()
    return sent


def _exchange(
    connection: http.client.HTTPConnection, door: Door, sent: Sent, body: dict[str, Any], take: Any
) -> None:
    headers = {"Authorization": f"Bearer {door.key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/fn/{APP}/{sent.function}", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status == 200:
            take(answer, sent)
        else:
            _take_error(json.loads(answer.read()), sent)
    except TimeoutError:
        sent.outcome = "no end"
        return
    except (OSError, http.client.HTTPException) as error:
        sent.outcome, sent.detail = "ended", repr(error)
        return
    # Not before: of one whose end was cut off the server may have thought better.
    sent.call_id = answer.getheader("Ember-Call-Id", "")
    sent.container = answer.getheader("Ember-Container-Id", "")
    sent.is_cold = answer.getheader("Ember-Cold") == "true"


def _take_error(document: dict[str, Any], sent: Sent) -> None:
    sent.outcome = document["error"]["code"]
    sent.detail = document["error"]["message"]


def _take_result(answer: http.client.HTTPResponse, sent: Sent) -> None:
    token, container = json.loads(answer.read())
    of_container = sent.function == "ask" or container == answer.getheader("Ember-Container-Id")
    is_its_own = token == sent.token and of_container
    sent.outcome = "result" if is_its_own else "a result of another call"
    sent.detail = f"{token} of {container}"


def _take_items(answer: http.client.HTTPResponse, sent: Sent) -> None:
    count = 0
    for line in _lines(answer):
        item = json.loads(line)
        if isinstance(item, dict):
            return _take_error(item, sent)
        if item != [sent.token, count]:
            sent.outcome, sent.detail = "another item than the next", f"{item} after {count}"
            return None
        count += 1
    sent.outcome = "result" if count == ITEMS else "a stream without its items"
    return None


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of a body; IncompleteRead where its end has not come, which readline() hides."""
    begun = b""
    while data := answer.read1(1 << 16):
        *lines, begun = (begun + data).split(b"\n")
        yield from (line for line in lines if line.strip())
