"""From zero and back to it: cold and warm starts, concurrency, windows, limits."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import ember
import pytest
from conftest import APPS, Answer, Server, wait_until
from ember import _client
from ember._config import Config

if TYPE_CHECKING:
    from pathlib import Path


def phases(answer: Answer) -> dict[str, float]:
    found = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
    return {name: float(duration) for name, duration in found}


def test_headers_tell_a_cold_from_a_warm_call(server: Server, app_name: str) -> None:
    server.cli("deploy", APPS / "versions.py", "--name", app_name)
    cold = server.call(app_name, "version")
    warm = server.call(app_name, "version")
    assert (cold.headers["ember-cold"], warm.headers["ember-cold"]) == ("true", "false")
    assert cold.headers["ember-container-id"] == warm.headers["ember-container-id"]
    assert cold.headers["ember-call-id"] != warm.headers["ember-call-id"]
    assert phases(cold)["boot"] > 0
    assert phases(warm)["boot"] == 0
    assert float(cold.headers["ember-start-cost-usd"]) > 0
    assert float(warm.headers["ember-start-cost-usd"]) == 0
    assert re.fullmatch(r"0\.\d{9}", warm.headers["ember-cost-usd"])  # of CPU, so little is 0
    assert warm.headers["ember-attempt"] == "1"


@pytest.mark.parametrize("function", ["meet", "meet_async"])
def test_inputs_of_one_container_run_at_the_same_time(
    server: Server, basics: str, function: str
) -> None:
    """Each of the four returns only once all four are in, in the one container there may be."""
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(server.result, basics, function, count=4) for _ in range(4)]
        processes = {call.result() for call in calls}
    assert len(processes) == 1


def test_inputs_of_a_plain_function_run_one_at_a_time_in_containers_of_their_own(
    server: Server, basics: str
) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(server.call, basics, "nap", seconds=1.5) for _ in range(2)]
        answers = [call.result() for call in calls]
    assert [answer.status for answer in answers] == [200, 200]
    assert len({answer.headers["ember-container-id"] for answer in answers}) == 2


def test_a_gpu_call_takes_a_simulated_device_and_gives_it_back(server: Server) -> None:
    server.deploy("short_lived.py")
    answer = server.call("short-lived", "f")
    assert answer.headers["ember-gpu"] == "L4 (simulated)"
    wait_until("scaled to zero", lambda: server.containers("short-lived") == [])

    def devices_free() -> bool:
        (node,) = server.json("node", "list")["nodes"]
        mine = [d for d in node["devices"] if d["container_id"] is not None]
        return all(d["simulated"] for d in node["devices"]) and not mine

    wait_until("the device is free", devices_free)
    assert server.call("short-lived", "f").headers["ember-cold"] == "true"  # from zero again


def test_a_call_waits_with_a_reason_while_the_fleet_is_full(
    server: Server, app_name: str, tmp_path: Path
) -> None:
    script = tmp_path / "full.py"
    script.write_text(
        "import time\nimport ember\napp = ember.App('full')\n"
        "@app.function(gpu='L4:2', max_containers=1, scaledown_window=1)\n"
        "def hold(seconds: float) -> str:\n    time.sleep(seconds)\n    return 'held'\n"
    )
    server.cli("deploy", script, "--name", app_name)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.call, app_name, "hold", seconds=4)
        wait_until("the first one runs", lambda: _states(server, app_name) == ["running"])
        second = pool.submit(server.call, app_name, "hold", seconds=0)
        wait_until("the second one is there", lambda: len(_states(server, app_name)) == 2)
        (waiting,) = [
            call["call_id"]
            for call in server.json("call", "list", "--app", app_name)["calls"]
            if call["state"] != "running"
        ]
        assert server.json("call", "show", waiting)["reason"]
        assert first.result().status == second.result().status == 200


def _states(server: Server, app: str) -> list[str]:
    return [call["state"] for call in server.json("call", "list", "--app", app)["calls"]]


def test_a_container_that_dies_at_its_start_fails_its_callers_with_its_last_lines(
    server: Server,
) -> None:
    server.deploy("imports_only_here.py")
    answer = server.call("imports-only-here", "hello")
    assert (answer.status, answer.code) == (500, "start_failed")
    assert "not at home in a container" in str(answer.document)


def test_a_client_that_hangs_up_cancels_its_call(server: Server, app_name: str) -> None:
    server.cli("deploy", APPS / "waiting.py", "--name", app_name)
    with server.start("call", f"{app_name}.wait_for_long") as process:
        wait_until("it runs", lambda: _states(server, app_name) == ["running"])
        process.kill()
    wait_until("it is cancelled", lambda: _states(server, app_name) == ["cancelled"])


def test_a_running_call_is_cancelled_by_its_id(server: Server, app_name: str) -> None:
    server.cli("deploy", APPS / "waiting.py", "--name", app_name)
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(server.call(app_name, "wait_for_long")))
    thread.start()
    wait_until("it runs", lambda: _states(server, app_name) == ["running"])
    (call,) = server.json("call", "list", "--app", app_name)["calls"]
    server.cli("call", "cancel", call["call_id"])
    thread.join()
    assert (answers[0].status, answers[0].code) == (499, "cancelled")


def test_a_queue_at_its_limit_refuses_the_next_call(server: Server, app_name: str) -> None:
    server.cli("deploy", APPS / "narrow.py", "--name", app_name)
    with server.start("call", f"{app_name}.wait_for_long"):
        wait_until("one runs", lambda: "running" in _states(server, app_name))
        with server.start("call", f"{app_name}.wait_for_long"):
            wait_until("one waits", lambda: len(_states(server, app_name)) == 2)
            answer = server.call(app_name, "wait_for_long")
            assert (answer.status, answer.code) == (429, "resource_exhausted")
            assert int(answer.headers["retry-after"]) >= 1
            server.cli("call", f"{app_name}.wait_for_long", status=4)
    server.cli("app", "stop", app_name)


def test_the_autoscaler_is_changed_live_until_the_next_deploy(
    server: Server, app_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "_shared", _client.Client(Config(server.url, server.key)))
    server.cli("deploy", APPS / "versions.py", "--name", app_name)
    function = ember.Function.from_name(app_name, "version")
    holds = function.update_autoscaler(min_containers=2, scaledown_window=5)
    assert holds["min_containers"] == 2
    assert holds["scaledown_window"] == 5
    wait_until("two are warm", lambda: function.get_current_stats().num_total_runners == 2)
    assert function.get_current_stats() == (0, 2, 0, 2)
    told = server.cli("function", "scale", f"{app_name}.version", "--min-containers", "1")
    assert told.stdout.splitlines()[1].split() == ["1", "2", "0", "5", "s"]
    assert "until the next deploy" in told.stderr
    assert function.update_autoscaler()["min_containers"] == 1
    server.cli("deploy", APPS / "versions.py", "--name", app_name)
    wait_until("as deployed", lambda: function.get_current_stats().num_total_runners == 0)
    assert function.update_autoscaler()["min_containers"] == 0


def test_what_has_other_options_is_scaled_by_itself(
    server: Server, app_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "_shared", _client.Client(Config(server.url, server.key)))
    server.cli("deploy", APPS / "versions.py", "--name", app_name)
    function = ember.Function.from_name(app_name, "version")
    slow = function.with_options(timeout=99)
    slow.update_autoscaler(min_containers=1)
    wait_until("one is warm", lambda: slow.get_current_stats().num_total_runners == 1)
    assert function.get_current_stats() == (0, 0, 0, 0)
    server.cli("app", "stop", app_name)


def test_bounds_that_no_function_could_have_are_refused(server: Server, app_name: str) -> None:
    server.cli("deploy", APPS / "versions.py", "--name", app_name)
    done = server.cli(
        "function", "scale", f"{app_name}.version", "--min-containers", "101", status=2
    )
    assert "min_containers" in done.stderr
    server.cli("function", "scale", f"{app_name}.nothing", status=2)
    server.cli("function", "scale", "nothing", status=2)
