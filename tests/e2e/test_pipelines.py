"""Functions that call functions: the tree of their calls, who ends with whom, and loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, Server, running_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def pipeline(server: Server) -> Iterator[Server]:
    server.cli("deploy", APPS / "pipeline.py")
    yield server
    server.cli("app", "stop", "pipeline")


def spawn(server: Server, function: str, **arguments: object) -> str:
    answer = server.http("POST", f"/fn/pipeline/{function}?mode=async", arguments)
    assert answer.status == 202, answer
    return answer.document["call_id"]


def outcome(server: Server, call: str) -> Any:
    return server.http("GET", f"/api/v1/calls/{call}/result?wait_ms=60000")


def graph(server: Server, call: str) -> dict[str, Any]:
    answer = server.http("GET", f"/api/v1/calls/{call}/graph")
    assert answer.status == 200, answer
    return answer.document["call"]


def names(call: dict[str, Any]) -> list[Any]:
    """The functions of a tree, as nested lists."""
    return [call["function"], *sorted((names(one) for one in call["children"]), key=str)]


def nanos(usd: str) -> int:
    return int(usd.replace(".", ""))


def sum_of(call: dict[str, Any]) -> int:
    return nanos(call["cost_usd"]) + sum(map(sum_of, call["children"]))


# --- the tree -----------------------------------------------------------------------------------


def test_the_tree_has_what_was_called_spawned_and_mapped(pipeline: Server) -> None:
    call = spawn(pipeline, "root", number=1)
    assert outcome(pipeline, call).document == 2 * 4 + 6
    drawn = graph(pipeline, call)
    middle = ["middle", ["leaf"], ["leaf"]]
    assert names(drawn) == ["root", ["leaf"], ["leaf"], ["leaf"], middle, middle]
    assert drawn["parent_call_id"] is None
    for child in drawn["children"]:
        assert child["parent_call_id"] == call
        assert child["state"] == "succeeded"
        assert child["execute_us"] > 0
    assert nanos(drawn["tree_cost_usd"]) >= sum_of(drawn) > nanos(drawn["cost_usd"])


def test_the_tree_is_drawn_for_people(pipeline: Server) -> None:
    call = spawn(pipeline, "middle", number=1)
    outcome(pipeline, call)
    text = pipeline.cli("call", "graph", call).stdout
    lines = [line for line in text.splitlines() if "pipeline." in line]
    assert [line.split("fc-")[0] for line in lines] == ["", "├─ ", "└─ "]
    assert "3 calls, $" in text
    document = pipeline.json("call", "graph", call)
    assert document["whole"] and document["calls"] == 3
    assert pipeline.cli("call", "graph", "fc-0000000000001", status=2)


# --- who ends with whom -------------------------------------------------------------------------


def test_cancelling_a_call_cancels_all_that_it_has_called(pipeline: Server) -> None:
    call = spawn(pipeline, "holds_children", seconds=60)
    wait_until("both run", lambda: len(graph(pipeline, call)["children"]) == 2)
    assert pipeline.http("POST", f"/api/v1/calls/{call}/cancel").status == 200
    assert outcome(pipeline, call).status == 499
    wait_until(
        "its children are cancelled",
        lambda: {one["state"] for one in graph(pipeline, call)["children"]} == {"cancelled"},
    )


def test_what_a_call_has_spawned_outlives_its_success(pipeline: Server) -> None:
    child = pipeline.result("pipeline", "leaves_a_child", seconds=0.5)
    wait_until("it ends", lambda: graph(pipeline, child)["state"] == "succeeded")


# --- loops --------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["itself", "itself_later", "ping"])
def test_a_loop_that_waits_for_itself_is_named(pipeline: Server, function: str) -> None:
    call = spawn(pipeline, function, depth=5)
    answer = outcome(pipeline, call)
    assert answer.status == 500, answer
    assert answer.document["error"]["exception"]["type"].endswith("DeadlockError")
    assert "deadlock" in answer.message and "raise max_containers=" in answer.message
    ended = [graph(pipeline, call)]
    while ended[-1]["children"]:
        ended.append(ended[-1]["children"][0])
    named = ended[-1]
    assert (named["state"], named["execute_us"]) == ("failed", 0)
    detail = pipeline.http("GET", f"/api/v1/calls/{named['call_id']}").document
    assert detail["error"]["code"] == "deadlock"


def test_who_calls_may_catch_it_and_go_on(pipeline: Server) -> None:
    assert pipeline.result("pipeline", "learns_of_it", depth=0) == "came to its end"
    assert pipeline.result("pipeline", "learns_of_it", depth=1).startswith("told: ")
    assert pipeline.result("pipeline", "itself", depth=0) == 0, "and nobody else is harmed"


def test_the_only_device_cannot_be_waited_for_by_who_holds_it() -> None:
    with running_server(make=_one_device) as server:
        server.cli("deploy", APPS / "one_device.py")
        answer = server.call("one-device", "holds_the_device")
        assert answer.status == 500 and "deadlock" in answer.message, answer
        assert server.result("one-device", "on_the_device") == "done"


def _one_device(data: Path) -> Server:
    server = Server(data)
    server.simulate_gpus = "L4:1"
    return server
