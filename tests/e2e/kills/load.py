"""Callers in threads: each sends one call after another, and keeps what it was and how it ended.

A call ends in one of three ways: an answer of the function, an error with a code of Ember's, or the
end of its connection. The last may only be where the server was killed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

CALL_LIMIT_S = 60.0  # much longer than any call takes, kills and starts counted
APP = "under-kills"
# Function, how long it is to take at most (none: it takes no time), how often it is called.
_FUNCTIONS = (
    ("echo", None, 6),
    ("on_gpu", 0.6, 3),
    ("on_either", 0.4, 2),
    ("compute", 0.1, 2),
    ("shared", 0.8, 3),
    ("batched", 0.4, 3),
    ("ask", None, 2),
    ("refuse", None, 1),
)


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


@dataclass(frozen=True)
class Door:
    """Where the server is, over its restarts."""

    host: str
    key: str


class Load:
    """Callers that go on until they are stopped."""

    def __init__(self, door: Door, seed: int, callers: int) -> None:
        self._door = door
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Sent] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(f"{seed}/{number}")))
            for number in range(callers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Sent]:
        """Lets each caller end its call; all calls that were made."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * CALL_LIMIT_S)
        return self.calls()

    def calls(self) -> list[Sent]:
        with self._lock:
            return list(self._calls)

    def _run(self, caller: int, chance: random.Random) -> None:
        weights = [weight for _, _, weight in _FUNCTIONS]
        number = 0
        while not self._stopping.is_set():
            ((function, longest_s, _),) = chance.choices(_FUNCTIONS, weights)
            number += 1
            seconds = None if longest_s is None else chance.uniform(0.0, longest_s)
            sent = call(self._door, function, f"{caller}-{number}", seconds)
            with self._lock:
                self._calls.append(sent)
            # Bursts and rests: rests are when pools scale to zero.
            refused = sent.outcome in ("refused", "ended")
            rest_s = 0.3 if refused else chance.choice((0.0, 0.0, 0.05, 0.3, 1.5))
            self._stopping.wait(rest_s)


def call(door: Door, function: str, token: str, seconds: float | None = None) -> Sent:
    """One call, on a connection of its own."""
    sent = Sent(function, token, time.time())
    body: dict[str, Any] = {"token": token}
    if seconds is not None:
        body["seconds"] = seconds
    connection = http.client.HTTPConnection(door.host, timeout=CALL_LIMIT_S)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError as error:
            sent.outcome, sent.detail = "refused", repr(error)
        else:
            _exchange(connection, door, sent, body)
    sent.ended_s = time.time()
    return sent


def _exchange(
    connection: http.client.HTTPConnection, door: Door, sent: Sent, body: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {door.key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/fn/{APP}/{sent.function}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except TimeoutError:
        sent.outcome = "no end"
        return
    except (OSError, http.client.HTTPException) as error:
        sent.outcome, sent.detail = "ended", repr(error)
        return
    sent.call_id = answer.getheader("Ember-Call-Id", "")
    sent.container = answer.getheader("Ember-Container-Id", "")
    sent.is_cold = answer.getheader("Ember-Cold") == "true"
    document = json.loads(text)
    if answer.status == 200:
        is_its_own = document[0] == sent.token
        of_container = sent.function == "ask" or document[1] == sent.container
        sent.outcome = "result" if is_its_own and of_container else "a result of another call"
        sent.detail = text.decode()
        return
    sent.outcome = document["error"]["code"]
    sent.detail = document["error"]["message"]


@dataclass(frozen=True)
class Outage:
    """From before a kill to after what was killed is back."""

    began_s: float
    ended_s: float
    targets: frozenset[str]  # the roles, or "runners"

    def meets(self, began_s: float, ended_s: float) -> bool:
        return began_s <= self.ended_s and ended_s >= self.began_s


# What a call may come to besides its result, where something that it stands on was killed.
_MAY_END = {
    "refused": {"serve"},
    "ended": {"serve"},
    "unavailable": {"serve"},  # it listens already and knows no node yet
    "container_crashed": {"runners"},
    "start_failed": {"runners"},
}


def wrong_ends(calls: list[Sent], outages: list[Outage]) -> list[Sent]:
    """The calls that ended as none may."""
    return [sent for sent in calls if not _is_right(sent, outages)]


def _is_right(sent: Sent, outages: list[Outage]) -> bool:
    if sent.outcome == ("user_exception" if sent.function == "refuse" else "result"):
        return True
    causes = _MAY_END.get(sent.outcome, set[str]())
    if sent.function == "ask" and sent.outcome == "user_exception":
        # What it asked ended as its own call might have: the error comes up in its code.
        causes = {"runners", "serve", "node"}
    return any(o.targets & causes and o.meets(sent.began_s, sent.ended_s) for o in outages)


_UNDECIDED = ("waiting", "running")
_NESTED = "answer"  # called from inside containers alone


def held_against(calls: list[Sent], tables: list[dict[str, tuple[str, str]]]) -> list[str]:
    """What the server's own tables, one of each life, say otherwise than the callers.

    Each call ended once, in one life, and as its caller was told. Whom the end of its connection
    kept from hearing may have been answered, but no more calls than that.
    """
    found: list[str] = []
    heard = {sent.call_id: sent for sent in calls if sent.call_id}
    unheard = 0
    for number, table in enumerate(tables):
        for call_id, (function, state) in table.items():
            if any(call_id in other for other in tables[:number]):
                found.append(f"{call_id} is of two lives of the server")
            if function == _NESTED or state in _UNDECIDED:
                continue
            sent = heard.get(call_id)
            unheard += sent is None
            if sent and (state == "succeeded") != (sent.outcome == "result"):
                found.append(f"the server says {state} of {sent}")
    cut_off = sum(sent.outcome == "ended" for sent in calls)
    if unheard > cut_off:
        found.append(f"{unheard} calls ended and no caller heard, {cut_off} connections ended")
    return found


def doubled(calls: list[Sent]) -> list[str]:
    """The ids that two calls got."""
    counts = Counter(sent.call_id for sent in calls if sent.call_id)
    return [call_id for call_id, count in counts.items() if count > 1]
