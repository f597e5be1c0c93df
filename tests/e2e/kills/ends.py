"""How calls may end where something is killed, and what the server's own tables say of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kills.sent import Sent


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
# Those who ask again until they know see none of the server's own ends.
_MAY_END_LATER = {"container_crashed": {"runners"}, "start_failed": {"runners"}}


def wrong_ends(calls: list[Sent], outages: list[Outage]) -> list[Sent]:
    """The calls that ended as none may."""
    return [sent for sent in calls if not _is_right(sent, outages)]


def _is_right(sent: Sent, outages: list[Outage]) -> bool:
    if sent.outcome == ("user_exception" if sent.function == "refuse" else "result"):
        return True
    if sent.is_withdrawn and sent.outcome == "cancelled":
        return True
    causes = (_MAY_END_LATER if sent.kept else _MAY_END).get(sent.outcome, set[str]())
    if sent.function == "ask" and sent.outcome == "user_exception":
        # What it asked ended as its own call might have: the error comes up in its code.
        causes = {"runners", "serve", "node"}
    return any(o.targets & causes and o.meets(sent.began_s, sent.ended_s) for o in outages)


_UNDECIDED = ("waiting", "running")
_UNNAMED = ("answer", "mapped")  # whose calls no caller learns the ids of
_LATER = ("job", "mapped_later")  # that outlive the server


def held_against(calls: list[Sent], tables: list[dict[str, tuple[str, str]]]) -> list[str]:
    """What the server's own tables, one of each life, say otherwise than the callers.

    Each call that somebody waited for ended once, in one life, and as its caller was told. Whom the
    end of its connection kept from hearing may have been answered, but no more calls than that.
    """
    found: list[str] = []
    heard = {sent.call_id: sent for sent in calls if sent.call_id}
    unheard = 0
    for number, table in enumerate(tables):
        for call_id, (function, state) in table.items():
            if function in _LATER:
                continue
            if any(call_id in other for other in tables[:number]):
                found.append(f"{call_id} is of two lives of the server")
            if function in _UNNAMED or state in _UNDECIDED:
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
