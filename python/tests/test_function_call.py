"""Calls for later and retries, as far as they are decided on the caller's side."""

from __future__ import annotations

from typing import Any

import pytest

import ember
from ember import _function_call, _invoke, _spawn_map
from ember.exception import InvalidArgumentError, NotEnded, UnavailableError

app = ember.App("later")


@app.function()
def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize(
    ("retries", "spec"),
    [
        (None, None),
        (0, {"max_retries": 0, "backoff_permille": 1000}),
        (3, {"max_retries": 3, "initial_delay_ms": 1000, "backoff_permille": 1000}),
        (
            ember.Retries(2, backoff_coefficient=1.5, initial_delay_s=0.25, max_delay_s=9),
            {
                "max_retries": 2,
                "backoff_permille": 1500,
                "initial_delay_ms": 250,
                "max_delay_ms": 9000,
            },
        ),
    ],
)
def test_retries_are_a_number_or_say_when(
    retries: int | ember.Retries | None, spec: dict[str, int] | None
) -> None:
    made = ember.App("retried").function(retries=retries)(add.local).spec()
    if spec is None:
        assert "retries" not in made
    else:
        assert {name: made["retries"][name] for name in spec} == spec


@pytest.mark.parametrize(
    "make",
    [
        lambda: ember.Retries(11),
        lambda: ember.Retries(-1),
        lambda: ember.Retries(True),
        lambda: ember.Retries("3"),  # pyright: ignore[reportArgumentType]
        lambda: ember.Retries(1, backoff_coefficient=0.5),
        lambda: ember.Retries(1, initial_delay_s=3601),
        lambda: ember.Retries(1, max_delay_s=0),
        lambda: add.spawn.with_options(ttl=0),
        lambda: add.spawn.with_options(ttl=8 * 24 * 3600),
        lambda: add.spawn.with_options(ttl="soon"),  # pyright: ignore[reportArgumentType]
        lambda: add.spawn.with_options(idempotency_key=""),
        lambda: add.spawn.with_options(idempotency_key="k" * 256),
        lambda: add.spawn.with_options(idempotency_key="line\nbreak"),
        lambda: add.spawn.with_options(webhook="ftp://example.org"),
        lambda: add.spawn.with_options(webhook=7),  # pyright: ignore[reportArgumentType]
        lambda: add.spawn.with_options(priority=11),
        lambda: add.spawn.with_options(priority=1.5),  # pyright: ignore[reportArgumentType]
        lambda: add.spawn.with_options(priority=True),
        lambda: ember.FunctionCall.from_id("ct-0000000000001"),
        lambda: ember.FunctionCall.from_id(7),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidArgumentError):
        make()


def test_a_call_is_known_by_its_id() -> None:
    one, other = (ember.FunctionCall.from_id("fc-0000000000001") for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    assert repr(one) == "<ember.FunctionCall fc-0000000000001>"
    assert issubclass(ember.PendingError, TimeoutError)


def test_a_result_is_waited_for_as_long_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = [NotEnded("it waits"), NotEnded("it runs"), 42]
    monkeypatch.setattr(_function_call, "outcome", lambda _id, _wait_s, **_: answers.pop(0))
    call = ember.FunctionCall.from_id("fc-0000000000001")
    with pytest.raises(ember.PendingError, match="it waits"):
        call.get(timeout=0)
    assert call.get() == 42


def test_what_a_function_raised_of_this_kind_is_no_reason_to_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def raises(call_id: str, _wait_s: float, *, to_the_end: bool) -> object:
        assert to_the_end
        asked.append(call_id)
        raise ember.PendingError("of the function's own")

    monkeypatch.setattr(_function_call, "outcome", raises)
    with pytest.raises(ember.PendingError, match="own"):
        ember.FunctionCall.from_id("fc-0000000000001").get()
    assert len(asked) == 1


class _Kept:
    """A server that keeps spawned calls by their keys, as far as a map needs it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[str, str] = {}  # by key
        self.outcomes: dict[str, object] = {}  # of calls that have ended
        self.made = 0
        monkeypatch.setattr(_invoke, "spawn", self.spawn)
        monkeypatch.setattr(_spawn_map, "outcome", self.outcome)
        monkeypatch.setattr(_function_call, "outcome", self.outcome)

    def spawn(
        self, _app: str, _function: str, _args: Any, _kwargs: Any, options: Any, _v: Any
    ) -> Any:
        key = str(options.get("idempotency_key", self.made))
        repeated = key in self.calls
        if not repeated:
            self.made += 1
            self.calls[key] = f"fc-{self.made:013}"
        return {"call_id": self.calls[key], "repeated": repeated}

    def outcome(self, call_id: str, _wait_s: float, *, to_the_end: bool) -> object:
        found = self.outcomes.get(call_id, NotEnded("it runs"))
        if isinstance(found, Exception):
            raise found
        return found


def test_a_spawned_map_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _Kept(monkeypatch)
    spawned = add.spawn_map([1, 2, 3], [4, 5, 6])
    assert len(spawned) == 3
    assert spawned.get_progress() == {"total": 3, "done": 0, "failed": 0}
    first, second, third = (call.call_id for call in spawned.calls)
    kept.outcomes = {first: 5, second: ValueError("no")}
    assert spawned.get_progress() == {"total": 3, "done": 2, "failed": 1}
    kept.outcomes[third] = 9
    values = list(spawned.results(return_exceptions=True))
    assert values[0] == 5 and isinstance(values[1], ValueError) and values[2] == 9
    with pytest.raises(ValueError, match="no"):
        list(spawned.results())


def test_a_map_that_is_resumed_makes_what_is_missing_and_what_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = _Kept(monkeypatch)
    first = add.spawn_map([1, 2, 3], [4, 5, 6], resume="june")
    kept.outcomes = {first.calls[0].call_id: 5, first.calls[1].call_id: ValueError("no")}
    again = add.spawn_map([1, 2, 3, 4], [4, 5, 6, 7], resume="june")
    assert again.calls[0] == first.calls[0], "is done"
    assert again.calls[1] != first.calls[1], "has failed"
    assert again.calls[2] == first.calls[2], "runs"
    assert kept.made == 5
    assert add.spawn_map([1, 2], [4, 5], resume="june").calls == again.calls[:2]


def test_a_map_that_is_resumed_takes_no_call_for_failed_because_the_server_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = _Kept(monkeypatch)
    first = add.spawn_map([1], [4], resume="june")
    (call,) = first.calls
    kept.outcomes = {call.call_id: UnavailableError("it was killed just now")}
    with pytest.raises(UnavailableError):
        add.spawn_map([1], [4], resume="june")
    with pytest.raises(UnavailableError):
        first.get_progress()
    assert kept.made == 1
    kept.outcomes = {call.call_id: UnavailableError("its own", call_id=call.call_id)}
    assert add.spawn_map([1], [4], resume="june").calls != first.calls


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(TypeError, match="at least one"):
        add.spawn_map()
    with pytest.raises(ember.exception.InvalidArgumentError, match="resume"):
        add.spawn_map([1], resume="")
