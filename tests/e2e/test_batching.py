"""Batches in real containers: inputs of many callers run together, and each ends by itself."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import Answer, Server, wait_until
from ember import _client
from ember._config import Config
from ember.exception import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def app(server: Server) -> Iterator[str]:
    server.deploy("batches.py")
    yield "batches"
    server.cli("app", "stop", "batches")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls give, made by as many callers."""
    with ThreadPoolExecutor(len(calls)) as callers:
        return [call.result() for call in [callers.submit(one) for one in calls]]


def many(server: Server, function: str, *arguments: dict[str, Any]) -> list[Answer]:
    def calls(one: dict[str, Any]) -> Callable[[], Answer]:
        return lambda: server.call("batches", function, **one)

    return at_once(*(calls(one) for one in arguments))


def cost(answer: Answer) -> float:
    return float(answer.headers["ember-cost-usd"])


def state(server: Server, function: str) -> list[tuple[str, str]]:
    calls = server.http("GET", "/api/v1/calls?app=batches&limit=100").document["calls"]
    return [(one["call_id"], one["state"]) for one in calls if one["function"] == function]


def in_state(server: Server, function: str, wanted: str) -> list[str]:
    return [call for call, now in state(server, function) if now == wanted]


def test_inputs_of_many_callers_run_as_one_and_share_its_price(server: Server, app: str) -> None:
    answers = many(server, "together", *({"x": x} for x in range(4)))
    assert [one.document for one in answers] == [[0, 1, 2, 3]] * 4
    assert len({one.headers["ember-container-id"] for one in answers}) == 1
    costs = [cost(one) for one in answers]
    assert max(costs) - min(costs) <= 2e-9  # a share's odd microsecond, rounded
    # Now it is known how long one runs, and that calls are rare: nobody waits the minute.
    assert server.result(app, "together", x=9) == [9]


def test_all_ways_to_call_go_through_the_same_batch(server: Server, app: str) -> None:
    server.result(app, "plain", x=1)

    def spawned() -> Any:
        call = server.http("POST", "/fn/batches/together?mode=async", {"x": 1}).document["call_id"]
        return server.http("GET", f"/api/v1/calls/{call}/result?wait_ms=60000").document

    assert (
        at_once(
            lambda: server.result(app, "together", x=0),
            spawned,
            lambda: server.result(app, "asks", x=2),
            lambda: json.loads(server.cli("call", "batches.together", "3").stdout),
        )
        == [[0, 1, 2, 3]] * 4
    )


@pytest.fixture
def sdk(server: Server, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK in this process speaks to the server."""
    monkeypatch.setattr(_client, "_shared", _client.Client(Config(server.url, server.key)))


def test_a_map_runs_in_batches(sdk: None) -> None:
    squares = ember.Function.from_name("batches", "squares")
    given = list(squares.map(range(500)))
    assert [value for value, _ in given] == [x * x for x in range(500)]
    assert 10 < max(size for _, size in given) <= 50


def test_with_batching_has_batches_of_another_size(sdk: None) -> None:
    together: Any = ember.Function.from_name("batches", "together")
    in_pairs = together.with_batching(max_batch_size=2, wait_ms=60_000)
    pair = at_once(lambda: in_pairs.remote(1), lambda: in_pairs.remote(2))
    assert pair == [[1, 2]] * 2
    with pytest.raises(InvalidArgumentError, match="plain does not"):
        ember.Function.from_name("batches", "plain").with_batching(
            max_batch_size=2, wait_ms=1
        ).remote(1)


def test_async_functions_and_defaults(server: Server, app: str) -> None:
    answers = many(server, "together_async", {"x": 2}, {"x": 1, "y": "one"})
    assert [one.document for one in answers] == [[[1, 2], "none"], [[1, 2], "one"]]


def test_a_batch_is_one_of_the_inputs_that_run_at_once(server: Server, app: str) -> None:
    answers = many(server, "side_by_side", *({"x": x} for x in range(4)))
    assert [one.document for one in answers] == [[0, 1, 2, 3]] * 4


def test_methods_are_batched_and_with_batching_is_a_pool_of_its_own(
    server: Server, app: str
) -> None:
    answers = many(server, "Model.embed", *({"text": text} for text in "abc"))
    embedded = [one.document for one in answers]
    assert [one[:3] for one in embedded] == [[f"base{text}", 3, 1] for text in "abc"]
    options = {"max_batch_size": 2, "batch_wait_ms": 60_000}
    path = "/api/v1/apps/batches/functions/Model/variants"
    made = server.http("POST", path, {"options": options, "parameters": {"name": "other"}})
    variant = made.document["variant"]

    def embed(text: str) -> Any:
        return server.http("POST", f"/fn/batches/Model.embed?variant={variant}", {"text": text})

    others = [one.document for one in at_once(lambda: embed("a"), lambda: embed("b"))]
    assert [one[:3] for one in others] == [["othera", 2, 1], ["otherb", 2, 1]]
    assert others[0][3] != embedded[0][3]


def test_a_returned_exception_fails_its_input_alone(server: Server, app: str) -> None:
    good, refused, also = many(server, "moody", {"how": "a"}, {"how": "refused"}, {"how": "b"})
    assert (good.document, also.document) == ("a", "b")
    why = refused.document["error"]["exception"]
    assert (refused.status, why["type"], why["message"]) == (500, "ValueError", "refused")


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("raises", "KeyError", "'the batch'"),
        ("short", "ValueError", "moody was given 3 inputs in a batch and returned 2 results"),
        ("tuple", "TypeError", "moody is batched and returned tuple, not a list"),
    ],
)
def test_what_goes_wrong_with_the_batch_fails_all_of_it(
    server: Server, app: str, how: str, kind: str, text: str
) -> None:
    for answer in many(server, "moody", {"how": how}, {"how": "a"}, {"how": "b"}):
        assert (answer.status, answer.code) == (500, "user_exception")
        why = answer.document["error"]["exception"]
        assert why["type"] == kind
        assert text in why["message"]
    assert [one.document for one in many(server, "moody", *[{"how": "well"}] * 3)] == ["well"] * 3


def test_arguments_that_do_not_fit_fail_their_input_alone(server: Server, app: str) -> None:
    bad, good = many(server, "together_async", {"x": "one"}, {"x": 1})
    assert (bad.status, bad.code) == (400, "invalid_argument")
    assert '"x": expected int, got str' in bad.message
    assert good.document == [[1], "none"]


def test_each_input_of_a_failed_batch_is_tried_again(server: Server, app: str) -> None:
    for answer in many(server, "second_time", {"x": 1}, {"x": 2}):
        assert answer.status == 200, answer
        tries, beside = answer.document
        assert tries == 2
        assert beside in ([1, 2], [1], [2])  # they come back together, but for odd microseconds


def hang_up(server: Server, function: str, **arguments: object) -> http.client.HTTPConnection:
    """A call whose caller is to leave: closing the connection does."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    connection.request("POST", f"/fn/batches/{function}", json.dumps(arguments), headers)
    return connection


def test_a_cancelled_input_leaves_the_batch_that_it_waits_for(server: Server, app: str) -> None:
    leaves = hang_up(server, "together", x=7)
    wait_until("it waits", lambda: in_state(server, "together", "waiting"))
    (call,) = in_state(server, "together", "waiting")
    leaves.close()
    wait_until("it has left", lambda: in_state(server, "together", "cancelled") == [call])
    answers = many(server, "together", *({"x": x} for x in range(4)))
    assert [one.document for one in answers] == [[0, 1, 2, 3]] * 4


def test_one_that_is_cancelled_while_it_runs_disturbs_nobody(server: Server, app: str) -> None:
    with ThreadPoolExecutor(1) as caller:
        leaves = hang_up(server, "held", x=1)
        stays = caller.submit(lambda: server.call(app, "held", x=2))
        wait_until("both run", lambda: len(in_state(server, "held", "running")) == 2)
        leaves.close()
        wait_until("one has left", lambda: len(in_state(server, "held", "cancelled")) == 1)
        assert len(in_state(server, "held", "running")) == 1
        server.result(app, "Gate.open")
        assert stays.result().document == [1, 2]


def test_a_batch_that_nobody_waits_for_is_interrupted(server: Server, app: str) -> None:
    both = [hang_up(server, "held", x=x) for x in (1, 2)]
    wait_until("both run", lambda: len(in_state(server, "held", "running")) == 2)
    for one in both:
        one.close()

    def idle() -> bool:
        rows = [row for row in server.containers(app) if row["function"] == "held"]
        return [row["state"] for row in rows] == ["idle"]

    wait_until("its container is free", idle)


def test_the_timeout_is_for_the_execution_of_the_batch(server: Server, app: str) -> None:
    for answer in many(server, "too_long", {"x": 1}, {"x": 2}):
        assert (answer.status, answer.code) == (504, "timed_out")


def test_a_batch_whose_container_dies_fails_when_it_has_done_so_often(
    server: Server, app: str
) -> None:
    for answer in many(server, "dies", {"x": 1}, {"x": 2}):
        assert (answer.status, answer.code) == (502, "container_crashed")


def test_what_waits_for_its_batch_says_so(server: Server, app: str) -> None:
    waits = hang_up(server, "together", x=1)
    wait_until("it waits", lambda: in_state(server, "together", "waiting"))
    (call,) = in_state(server, "together", "waiting")

    def reason() -> str:
        return server.http("GET", f"/api/v1/calls/{call}").document["reason"]

    wait_until("its container is there", lambda: "for more inputs to run with" in reason())
    assert "the batch has 1" in reason()
    waits.close()


def refusal(server: Server, **changes: object) -> str:
    function = {"name": "f", "module": "m", "qualname": "f", **changes}
    deploy = {"source": "src-0", "functions": [function]}
    answer = server.http("POST", "/api/v1/apps/bad-batches/deploy", deploy)
    assert (answer.status, answer.code) == (400, "invalid_argument")
    return answer.message


def test_what_can_not_be_batched_is_refused(server: Server, app: str) -> None:
    assert "max_batch_size is 1001; it must be from 0 to 1000" in refusal(
        server, max_batch_size=1001
    )
    assert "batch_wait (ms) is -1" in refusal(server, max_batch_size=2, batch_wait_ms=-1)
    assert "a generator" in refusal(server, max_batch_size=2, is_generator=True)
    two = [{"name": name, "is_async": False, "parameters": []} for name in "ab"]
    assert "no other method" in refusal(server, max_batch_size=2, methods=two)
    for function, size in (("plain", 2), ("together", 0)):
        made = server.http(
            "POST",
            f"/api/v1/apps/batches/functions/{function}/variants",
            {"options": {"max_batch_size": size}},
        )
        assert (made.status, made.code) == (400, "invalid_argument")
        assert "is in its code" in made.message
