"""Calls that run whoever waits for them: on disk before they are accepted, through a kill too."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest
from conftest import APPS, CALL_TIMEOUT_S, Answer, Server, kill, wait_until

WEEK_MS = 7 * 24 * 3600 * 1000


@pytest.fixture(scope="module")
def later(server: Server) -> Server:
    server.cli("deploy", APPS / "later.py")
    return server


def spawn(
    server: Server, function: str, query: str = "", key: str | None = None, **arguments: object
) -> str:
    answer = spawn_answer(server, function, query, key, **arguments)
    assert answer.status == 202, answer
    return answer.document["call_id"]


def spawn_answer(
    server: Server, function: str, query: str = "", key: str | None = None, **arguments: object
) -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return server.http("POST", f"/fn/later/{function}?mode=async{query}", arguments, **headers)


def outcome(server: Server, call: str, wait_ms: int = 60_000) -> Answer:
    return server.http("GET", f"/api/v1/calls/{call}/result?wait_ms={wait_ms}")


def test_a_spawned_call_is_accepted_at_once_and_its_result_fetched_later(later: Server) -> None:
    call = spawn(later, "double", number=4, seconds=0.05)
    answer = outcome(later, call)
    assert (answer.status, answer.document) == (200, 8)
    assert answer.headers["ember-call-id"] == call
    assert float(answer.headers["ember-cost-usd"]) > 0
    assert outcome(later, call, wait_ms=0).document == 8, "as often as one likes"


def test_what_has_not_ended_says_what_it_does(later: Server) -> None:
    call = spawn(later, "holds_on")
    answer = outcome(later, call, wait_ms=50)
    assert answer.status == 202
    assert answer.document["call_id"] == call
    assert answer.document["state"] in ("waiting", "running")
    assert answer.document["reason"]
    assert later.http("POST", f"/api/v1/calls/{call}/cancel").status == 200
    assert outcome(later, call).status == 499
    assert later.http("POST", f"/api/v1/calls/{call}/cancel").status == 409


def test_a_failed_attempt_is_followed_by_others(later: Server) -> None:
    answer = later.call("later", "third_time_lucky", token=uuid.uuid4().hex)
    assert (answer.status, answer.document) == (200, 3)
    assert answer.headers["ember-attempt"] == "3"


def test_after_the_last_attempt_its_own_error_is_the_answer(later: Server) -> None:
    answer = later.call("later", "never_works", token=uuid.uuid4().hex)
    assert answer.status == 500
    assert "attempt 2" in answer.message


def test_an_attempt_that_times_out_is_followed_by_another(later: Server) -> None:
    answer = later.call("later", "hangs")
    assert answer.status == 504
    assert answer.headers["ember-attempt"] == "2"


def test_arguments_that_do_not_fit_are_not_tried_again(later: Server) -> None:
    answer = later.call("later", "third_time_lucky", nonsense=1)
    assert answer.status == 400


def test_one_key_is_one_call(later: Server) -> None:
    key = uuid.uuid4().hex
    answers: list[Answer] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(spawn_answer(later, "process_id", "", key, _which=1))
        )
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {202}
    assert len({answer.document["call_id"] for answer in answers}) == 1
    assert [answer.document["repeated"] for answer in answers].count(False) == 1
    other = spawn_answer(later, "process_id", "", key, _which=2)
    assert (other.status, other.code) == (422, "conflict")
    assert "another request" in other.message


def test_what_does_not_start_in_its_time_fails(later: Server) -> None:
    holding = spawn(later, "holds_on")
    wait_until("it runs", lambda: any(c["inputs"] for c in later.containers("later")))
    waiting = spawn(later, "holds_on", "&ttl_ms=100")
    answer = outcome(later, waiting)
    assert answer.status == 504
    assert "did not start" in answer.message
    later.http("POST", f"/api/v1/calls/{holding}/cancel")
    assert outcome(later, holding).status == 499


def test_dead_calls_are_listed_and_can_be_run_again(later: Server) -> None:
    token = uuid.uuid4().hex
    call = spawn(later, "never_works", token=token)
    assert outcome(later, call).status == 500
    dead = later.json("call", "list", "--state", "dead", "--app", "later")["calls"]
    assert call in [one["call_id"] for one in dead]
    (again,) = later.json("call", "retry", call)["calls"]
    assert again["retried"] == call
    assert "attempt 4" in outcome(later, again["call_id"]).message
    shown = later.http("GET", f"/api/v1/calls/{again['call_id']}").document
    assert shown["state"] == "failed"


@pytest.mark.parametrize(
    ("query", "headers", "status", "said"),
    [
        ("mode=sideways", {}, 400, "mode"),
        ("mode=async&ttl_ms=0", {}, 400, "ttl_ms"),
        (f"mode=async&ttl_ms={WEEK_MS + 1}", {}, 400, "ttl_ms"),
        ("mode=async", {"Idempotency-Key": "k" * 256}, 400, "Idempotency-Key"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    later: Server, query: str, headers: dict[str, str], status: int, said: str
) -> None:
    answer = later.http("POST", f"/fn/later/double?{query}", {"number": 1}, **headers)
    assert answer.status == status
    assert said in answer.message


def test_the_result_of_a_call_that_was_not_spawned_is_not_kept(later: Server) -> None:
    call = later.call("later", "double", number=1).headers["ember-call-id"]
    assert outcome(later, call).status == 409
    assert outcome(later, "fc-0000000000001").status == 404
    assert outcome(later, "nonsense").status == 404


def test_functions_spawn_others_and_wait_for_them(later: Server) -> None:
    assert later.result("later", "doubles", numbers=[1, 2, 3]) == [2, 4, 6]
    kind, call = later.result("later", "is_not_done_yet").split()
    assert kind == "PendingError"
    assert later.http("POST", f"/api/v1/calls/{call}/cancel").status == 200


def test_the_sdk_spawns_gathers_and_finds_calls_by_their_ids(later: Server) -> None:
    out = later.cli("run", APPS / "later.py").stdout
    assert out.splitlines()[:3] == ["[0, 2, 4, 6, 8]", "6 succeeded", "True 42"]


def test_the_command_line_spawns_and_shows_what_came_of_it(later: Server) -> None:
    call = later.cli("call", "later.double", "--spawn", "21").stdout.strip()
    assert later.cli("call", "result", call, "--wait").stdout == "42\n"
    assert later.json("call", "show", call)["state"] == "succeeded"


def test_the_command_line_tells_of_a_failure_with_the_function_s_frames(later: Server) -> None:
    call = spawn(later, "never_works", token=uuid.uuid4().hex)
    done = later.cli("call", "result", call, "--wait", status=1)
    assert "attempt 2" in done.stderr
    assert "never_works" in done.stderr, "its frame"
    assert f"ember call show {call}" in done.stderr


def test_the_command_line_runs_no_code_of_a_container_to_show_a_result(later: Server) -> None:
    body = pickle.dumps(((4,), {}))
    answer = later.http(
        "POST", "/fn/later/double?mode=async", body, Content_Type="application/x-ember-pickle"
    )
    done = later.cli("call", "result", answer.document["call_id"], "--wait", status=2)
    assert "FunctionCall.from_id" in done.stderr


def test_what_has_not_ended_is_no_result_yet(later: Server) -> None:
    call = spawn(later, "holds_on")
    done = later.cli("call", "result", call, status=5)
    assert "--wait" in done.stderr
    assert later.http("POST", f"/api/v1/calls/{call}/cancel").status == 200


def everyone_is_answered(server: Server, calls: list[str]) -> list[Any]:
    answers = [outcome(server, call) for call in calls]
    assert {answer.status for answer in answers} == {200}
    return [answer.document for answer in answers]


@pytest.mark.parametrize("died", [("serve",), ("node",), ("serve", "node")], ids=" and ".join)
def test_accepted_calls_survive_a_kill(own_server: Server, died: tuple[str, ...]) -> None:
    server = own_server
    server.cli("deploy", APPS / "later.py")
    calls = [spawn(server, "double", number=number, seconds=0.1) for number in range(30)]
    assert outcome(server, calls[2]).document == 4
    for role in died:
        kill(server, role)
    server.up()
    assert everyone_is_answered(server, calls) == [2 * number for number in range(30)]


def test_down_leaves_what_waits_to_the_next_server(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "later.py")
    calls = [spawn(server, "double", number=number, seconds=0.2) for number in range(20)]
    assert outcome(server, calls[0]).document == 0
    server.cli("down")
    server.up()
    assert everyone_is_answered(server, calls) == [2 * number for number in range(20)]
    assert spawn_answer(server, "double", "", "after", number=1).status == 202


RESUMED = """
import json, sys, ember
double = ember.Function.from_name("later", "double")
made = double.spawn_map(range(int(sys.argv[2])), kwargs={"seconds": 0.01}, resume=sys.argv[1])
values = list(made.results())
print(json.dumps([[call.call_id for call in made.calls], values, made.get_progress()]))
"""


def test_a_spawned_map_is_resumed_by_its_name(later: Server) -> None:
    def run(name: str, inputs: int) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", RESUMED, name, str(inputs)], env=later.environment, check=True,
            capture_output=True, text=True, timeout=CALL_TIMEOUT_S,
        )  # fmt: skip
        return json.loads(done.stdout)

    name = uuid.uuid4().hex
    calls, values, progress = run(name, 20)
    assert values == [2 * number for number in range(20)]
    assert progress == {"total": 20, "done": 20, "failed": 0}
    more, values, _ = run(name, 22)
    assert more[:20] == calls, "not made again"
    assert len(set(more)) == 22 and values[-1] == 42
