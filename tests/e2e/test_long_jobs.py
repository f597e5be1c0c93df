"""Jobs that go on from their newest checkpoint whatever ended them, and say how far they are."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, REPOSITORY, Server, kill, running_server, wait_until
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_containers = pytest.mark.skipif(
    os.geteuid() != 0, reason="checkpoints take containers, which take root"
)


@pytest.fixture(scope="module")
def jobs(server: Server) -> Iterator[Server]:
    if os.geteuid() != 0:
        pytest.skip("checkpoints take containers, which take root")
    server.cli("deploy", APPS / "jobs.py")
    yield server
    server.cli("app", "stop", "jobs")


def spawn(server: Server, app: str, function: str, **arguments: object) -> str:
    answer = server.http("POST", f"/fn/{app}/{function}?mode=async", arguments)
    assert answer.status == 202, answer
    return answer.document["call_id"]


def outcome(server: Server, call: str) -> Any:
    answer = server.http("GET", f"/api/v1/calls/{call}/result?wait_ms=60000")
    assert answer.status == 200, answer
    return answer.document


def shown(server: Server, call: str) -> dict[str, Any]:
    return server.http("GET", f"/api/v1/calls/{call}").document


def step_of(server: Server, call: str) -> int:
    return (shown(server, call)["progress"] or {"step": 0})["step"]


def checkpoints(server: Server) -> set[str]:
    """The calls that have some."""
    answer = server.http("GET", "/api/v1/volumes/ember%3Acheckpoints/tree?recursive=true")
    paths = [entry["path"].split("/") for entry in answer.document["entries"]]
    return {path[2] for path in paths if len(path) > 3}


# --- checkpoints ------------------------------------------------------------------------------


@needs_containers
def test_a_training_job_that_is_ended_three_times_has_the_weights_of_one_that_was_not() -> None:
    with running_server() as server:
        server.cli("deploy", REPOSITORY / "examples" / "train.py")
        whole = server.result("train", "train", steps=400, every=20)
        call = spawn(server, "train", "train", steps=400, every=20, seconds=0.01)

        wait_until("it is some way on", lambda: step_of(server, call) > 60)
        (container,) = server.containers("train")
        server.cli("container", "stop", container["container_id"], "--now")

        wait_until("it is further on", lambda: step_of(server, call) > 160)
        kill_runner(server)

        wait_until("it is further on", lambda: step_of(server, call) > 260)
        kill(server, "serve")
        server.up()

        assert outcome(server, call) == whole
        log = server.cli("logs", "train", "--call", call).stdout
        begun = [
            int(line.rsplit(" ", 1)[1]) for line in log.splitlines() if "goes on after" in line
        ]
        assert len(begun) == 3, log
        assert begun[0] >= 40 and begun[1] >= 140 and begun[2] >= 240, log
        wait_until("its checkpoints are gone", lambda: call not in checkpoints(server))


def kill_runner(server: Server) -> None:
    """Ends the process that runs the one busy container, as the kernel would."""
    node = server.pid("node")
    runners = [one for one in running() if "ember.runner" in " ".join(one.words)]
    ours = [one for one in runners if is_beneath(one.pid, node)]
    assert ours, "no runner runs"
    os.kill(max(one.pid for one in ours), signal.SIGKILL)


def is_beneath(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def test_a_directory_goes_on_whole_to_the_attempts_that_follow(jobs: Server) -> None:
    assert jobs.result("jobs", "fails_twice") == ["nothing", "work", "work"]


def test_only_the_newest_checkpoint_is_kept(jobs: Server) -> None:
    names = jobs.result("jobs", "keeps_one", times=3)
    assert names == ["00000003-", "00000003-", "2"]


def test_a_checkpoint_that_is_not_whole_counts_for_nothing(jobs: Server) -> None:
    assert jobs.result("jobs", "ignores_the_broken") == "whole"


def test_a_call_sees_no_other_call_s_checkpoints(jobs: Server) -> None:
    for _ in range(2):
        answer = jobs.call("jobs", "dies")
        assert answer.status == 500 and "for good" in answer.message


def test_a_dead_call_that_is_retried_goes_on_from_what_it_left(jobs: Server) -> None:
    call = spawn(jobs, "jobs", "dies")
    wait_until("it is dead", lambda: shown(jobs, call)["state"] == "failed")
    assert call in checkpoints(jobs)
    again = jobs.http("POST", f"/api/v1/calls/{call}/retry").document["call_id"]
    assert outcome(jobs, again) == "of the first call"
    wait_until("its checkpoints are gone", lambda: again not in checkpoints(jobs))
    assert call in checkpoints(jobs), "with its record"


def test_a_function_without_checkpoints_is_told_how_to_have_them(jobs: Server) -> None:
    answer = jobs.call("jobs", "has_none")
    assert "checkpoints=True" in answer.message


@pytest.mark.parametrize("path", ["/checkpoints", "/checkpoints/mine"])
def test_nothing_else_is_mounted_where_checkpoints_lie(server: Server, path: str) -> None:
    function = {
        "name": "f", "module": "m", "qualname": "f", "checkpoints": True,
        "volumes": [{"name": "shelf", "path": path}],
    }  # fmt: skip
    body = {"source": "src-" + "0" * 32, "functions": [function]}
    answer = server.http("POST", "/api/v1/apps/hostile/deploy", body)
    assert (answer.status, answer.code) == (400, "invalid_argument")
    assert "its checkpoints" in answer.message


def test_processes_have_no_checkpoints() -> None:
    with running_server("--isolation", "process") as server:
        refused = server.cli("deploy", APPS / "jobs.py", status=2).stderr
        assert "has checkpoints" in refused and "start Ember as root" in refused


# --- progress ---------------------------------------------------------------------------------


def test_what_a_call_says_of_its_progress_is_shown_while_it_runs(jobs: Server) -> None:
    call = spawn(jobs, "jobs", "tells_and_waits")
    wait_until("the last is told", lambda: step_of(jobs, call) == 2)
    told = shown(jobs, call)["progress"]
    assert (told["step"], told["total"], told["metrics"]) == (2, 4, {"loss": 0.25})
    text = jobs.cli("call", "show", call).stdout
    assert "step 2/4, 50 %, loss 0.25" in text
    rows = jobs.cli("call", "list", "--app", "jobs").stdout.splitlines()
    assert any(call in row and "50 %" in row for row in rows)
    assert jobs.http("POST", f"/api/v1/calls/{call}/cancel").status == 200


@pytest.mark.parametrize("function", ["tells", "tells_async", "tells_from_a_thread"])
def test_the_last_that_is_said_is_never_left_out(jobs: Server, function: str) -> None:
    call = spawn(jobs, "jobs", function, steps=5000)
    assert outcome(jobs, call) == 5000
    assert step_of(jobs, call) == 5000


def test_progress_stays_with_the_record_of_a_spawned_call(jobs: Server) -> None:
    call = spawn(jobs, "jobs", "tells", steps=3)
    outcome(jobs, call)
    listed = jobs.json("call", "list", "--app", "jobs", "--state", "succeeded")["calls"]
    (entry,) = [one for one in listed if one["call_id"] == call]
    assert entry["progress"]["step"] == 3
    assert json.dumps(entry["progress"]["metrics"]).startswith('{"loss": 0.33')
