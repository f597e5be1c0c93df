"""Twenty-eight things about calls, containers and deploys that are easily got wrong.

Each test shows one in short, on the app of `apps/semantics.py`; the suites of each subject go into
the corners. A function tells by a queue when it runs, and waits at another until it may go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import APPS, Server, running_server, wait_until
from ember import _client
from ember._config import Config
from ember.exception import (
    CallCancelledError,
    ConflictError,
    FunctionTimeoutError,
    NotFoundError,
    RemoteError,
    RemoteTraceback,
    StartFailedError,
)
from test_web import Talk, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = "semantics"
RUN = """
import time
import ember
app = ember.App("semantics-run")

@app.function(cpu=0.02)
def lines(n: int) -> str:
    for i in range(n):
        print("line", i)
    return "done"

@app.function(cpu=0.02)
def sleeps() -> None:
    time.sleep(3600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own, with the app; this process's SDK speaks to it."""
    before = _client._shared
    with running_server() as running:
        running.cli("secret", "create", APP, "TOKEN=first")
        running.deploy("semantics.py")
        _client._shared = _client.Client(Config(running.url, running.key))
        yield running
        _client._shared = before


@pytest.fixture(scope="module", autouse=True)
def abandoned(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], bool]:
    """Whether an app of `ember run` is still there, whose command was killed before the tests."""
    script = tmp_path_factory.mktemp("run") / "script.py"
    script.write_text(RUN)

    def is_there() -> bool:
        apps = server.http("GET", "/api/v1/apps").document["apps"]
        return any(app["state"] == "ephemeral" for app in apps)

    with server.start("run", f"{script}::sleeps") as command:
        wait_until("it is there", is_there)
        command.kill()
    return is_there


@pytest.fixture
def told() -> Iterator[ember.Queue]:
    with ember.Queue.ephemeral() as queue:
        yield queue


@pytest.fixture
def gate() -> Iterator[ember.Queue]:
    with ember.Queue.ephemeral() as queue:
        yield queue


@pytest.fixture
def named(server: Server) -> Iterator[tuple[ember.Queue, ember.Queue]]:
    """The queues that classes and web endpoints know by their names: told, and gate."""
    names = ("semantics-told", "semantics-gate")
    queues = [ember.Queue.from_name(name, create_if_missing=True) for name in names]
    assert [queue.len() for queue in queues] == [0, 0]
    yield queues[0], queues[1]
    for queue in queues:
        queue.delete()


def function(name: str) -> Any:
    return ember.Function.from_name(APP, name)


def instance(name: str, **parameters: Any) -> Any:
    return ember.Cls.from_name(APP, name)(**parameters)


def next_of(queue: ember.Queue) -> Any:
    return queue.get(timeout=60)


def containers(server: Server, name: str) -> list[dict[str, Any]]:
    return [row for row in server.containers(APP) if row["function"] == name]


def unended(server: Server) -> list[dict[str, Any]]:
    calls = server.http("GET", f"/api/v1/calls?app={APP}&limit=1000").document["calls"]
    return [call for call in calls if call["state"] in ("waiting", "running")]


def deploy_version(server: Server, folder: Path, version: int) -> None:
    script = folder / f"semantics_{version}.py"
    code = (APPS / "semantics.py").read_text()
    script.write_text(code.replace("VERSION = 1\n", f"VERSION = {version}\n"))
    server.cli("deploy", script, "--strategy", "recreate")


# --- time, attempts, results --------------------------------------------------------------------


def test_01_a_timeout_counts_each_attempt_and_neither_the_queue_nor_the_start(
    told: ember.Queue,
) -> None:
    """Of one second: three calls of 0.6 s wait for one container; a start takes 1.5 s."""
    assert list(function("takes").map([0.6] * 3, kwargs={"told": told})) == [1, 2, 3]
    assert instance("SlowToStart").call.remote() == "called"
    told.clear()
    assert function("takes").remote(0, told, slow_attempts=1) == 2, "each attempt has its second"


def test_02_retries_of_3_are_4_executions_and_a_lost_container_uses_none_up(
    server: Server, told: ember.Queue, gate: ember.Queue
) -> None:
    call = function("fails").spawn(told, gate)
    server.cli("container", "stop", next_of(told), "--now")
    next_of(told)
    gate.put_many(range(4))
    with pytest.raises(LookupError):
        call.get(timeout=60)
    assert told.len() == 3, "with the first after the loss these are four"


def test_03_what_is_delivered_twice_has_one_result_and_what_is_asked_twice_one_call(
    server: Server, told: ember.Queue, gate: ember.Queue
) -> None:
    spawn = function("holds").spawn.with_options(idempotency_key="semantics-3")
    call = spawn(told, gate)
    assert spawn(told, gate) == call
    with pytest.raises(ConflictError):
        spawn(gate, told)
    lost = next_of(told)
    server.cli("container", "stop", lost, "--now")
    assert next_of(told) != lost, "it is delivered again"
    gate.put("result")
    assert call.get(timeout=60) == ("result", 1)
    assert call.status()["attempt"] == 2
    assert (told.len(), gate.len()) == (0, 0)


def test_04_a_map_is_lazy_ordered_streamed_held_back_and_stopped_by_an_exception(
    server: Server,
) -> None:
    drawn = []

    def numbers() -> Iterator[int]:
        number = 0
        while True:
            drawn.append(number)
            yield number
            number += 1

    results = function("double").map(numbers())
    assert drawn == [], "nothing runs before the first result is asked for"
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8], "of inputs without an end"
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(drawn) < 1000
    wait_until("nothing goes on", lambda: not unended(server))
    _, error, six = function("double").map([4, 5, 6], return_exceptions=True)
    assert (type(error), six) == (ValueError, 12)


def test_05_what_is_pending_is_a_builtin_timeout_and_a_function_s_is_not(
    told: ember.Queue, gate: ember.Queue
) -> None:
    pending = function("holds").spawn(told, gate)
    with pytest.raises(TimeoutError) as raised:
        pending.get(timeout=0)
    assert not isinstance(raised.value, FunctionTimeoutError)
    pending.cancel()
    with pytest.raises(CallCancelledError):
        pending.get(timeout=60)
    with pytest.raises(FunctionTimeoutError) as exceeded:
        function("takes").remote(0, told, slow_attempts=9)
    assert not isinstance(exceeded.value, TimeoutError)


def test_06_an_exception_keeps_its_type_and_frames_and_degrades_to_text(server: Server) -> None:
    with pytest.raises(KeyError) as known:
        function("raises").remote("known")
    assert isinstance(known.value.__cause__, RemoteTraceback)
    assert 'raise KeyError("which")' in str(known.value.__cause__)
    with pytest.raises(RemoteError, match="OnlyThere: gone"):
        function("raises").remote("unknown")
    with pytest.raises((ValueError, RemoteError), match="xxx"):
        function("raises").remote("large")


def test_07_types_of_the_script_are_the_same_on_both_sides(server: Server) -> None:
    assert server.cli("run", APPS / "same_types.py").stdout == "caught (101,)\n"


def test_08_what_a_module_names_at_import_is_asked_for_at_its_first_use(server: Server) -> None:
    assert "semantics-no-such-app" in function("calls_elsewhere").remote()
    apps = server.http("GET", "/api/v1/apps").document["apps"]
    assert "semantics-no-such-app" not in [app["name"] for app in apps], "and nothing is made"
    with pytest.raises(NotFoundError):
        ember.Dict.from_name("semantics-never-made").get("a key")


# --- the life of containers ---------------------------------------------------------------------


def test_09_a_container_is_warm_after_its_enter_and_a_failing_one_tells_its_callers(
    server: Server, named: tuple[ember.Queue, ember.Queue]
) -> None:
    told, gate = named
    call = instance("Enters").call.spawn()
    assert next_of(told) == "entering"
    assert [row["state"] for row in containers(server, "Enters")] == ["loading"]
    assert call.status()["state"] == "waiting"
    gate.put("loaded")
    assert call.get(timeout=60) == "loaded"
    with pytest.raises(StartFailedError, match="no such weights"):
        instance("Enters", fails=True).call.remote()


@pytest.fixture
def volume(server: Server, tmp_path: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("volumes take containers, which take root")
    server.deploy("semantics_volume.py")
    yield APP
    server.cli("app", "stop", "semantics-volume")
    server.http("POST", f"/api/v1/volumes/{APP}/delete")


def test_10_exit_hooks_run_at_the_end_and_volumes_are_committed_after_them(
    server: Server, volume: str, tmp_path: Path
) -> None:
    ember.Cls.from_name("semantics-volume", "Leaves")().call.remote()
    wait_until("scaled to zero", lambda: not server.containers("semantics-volume"))
    server.cli("volume", "get", volume, "farewell", tmp_path / "farewell")
    assert (tmp_path / "farewell").read_text() == "written by an exit hook"


def test_11_a_container_sees_a_volume_as_it_was_at_its_start_until_it_reloads(
    server: Server, volume: str, tmp_path: Path
) -> None:
    reads = ember.Cls.from_name("semantics-volume", "Reads")()
    for text in ("first", "second"):
        (tmp_path / "a").write_text(text)
        server.cli("volume", "put", volume, tmp_path / "a")
        assert reads.text.remote() == "first", "a commit wakes no reader"
    for _ in range(5):  # what each leaves is in nobody's way
        assert "open" in reads.reload_with_an_open_file.remote()
    assert reads.reload.remote() == "second"
    id = server.json("volume", "list")["volumes"][0]["volume_id"]
    server.cli("app", "stop", "semantics-volume")
    server.http("POST", f"/api/v1/volumes/{volume}/delete")
    server.cli("volume", "create", volume)
    assert server.json("volume", "list")["volumes"][0]["volume_id"] != id


def test_12_max_containers_holds_over_both_versions_of_a_deploy(
    server: Server, told: ember.Queue, gate: ember.Queue, tmp_path: Path
) -> None:
    first = function("capped").spawn(told, gate)
    assert next_of(told) == 1
    deploy_version(server, tmp_path, 2)
    second = function("capped").spawn(told, gate)
    wait_until("it waits for room", lambda: "at its maximum" in second.status()["reason"])
    assert len(containers(server, "capped")) == 1
    gate.put("a")
    assert first.get(timeout=60) == ("a", 1)
    assert next_of(told) == 2
    gate.put("b")
    assert second.get(timeout=60) == ("b", 2)


def test_13_min_containers_is_the_new_version_s_at_once_and_what_runs_ends_on_the_old_code(
    server: Server, told: ember.Queue, gate: ember.Queue, tmp_path: Path
) -> None:
    function("holds").update_autoscaler(min_containers=1)
    running = function("holds").spawn(told, gate)
    old = next_of(told)
    script = tmp_path / "warm.py"
    code = (APPS / "semantics.py").read_text().replace("VERSION = 1\n", "VERSION = 3\n")
    script.write_text(
        code.replace("(cpu=0.02)\ndef holds", "(cpu=0.02, min_containers=1)\ndef holds")
    )
    server.cli("deploy", script, "--strategy", "recreate")
    wait_until(
        "one of the new version is warm",
        lambda: any(
            row["state"] == "idle" and row["container_id"] != old
            for row in containers(server, "holds")
        ),
    )
    gate.put("a")
    answer, version = running.get(timeout=60)
    assert (answer, version != 3) == ("a", True)
    wait_until(
        "the old one has gone",
        lambda: old not in [row["container_id"] for row in containers(server, "holds")],
    )
    server.deploy("semantics.py", "--strategy", "recreate")


def test_14_a_buffer_is_kept_while_there_is_work_and_then_no_longer_than_the_window(
    server: Server, told: ember.Queue, gate: ember.Queue
) -> None:
    call = function("buffered").spawn(told, gate)
    next_of(told)
    wait_until("one more stands by", lambda: len(containers(server, "buffered")) == 2)
    gate.put("done")
    call.get(timeout=60)
    wait_until("both have gone", lambda: not containers(server, "buffered"))


def test_15_each_set_of_options_has_a_pool_of_its_own_and_equal_ones_share_it(
    server: Server,
) -> None:
    where = function("where")
    plain = where.remote()
    longer = where.with_options(timeout=70).remote()
    assert longer != plain
    assert function("where").with_options(timeout=70).remote() == longer
    assert where.remote() == plain, "though each has max_containers=1"
    assert [
        one.get_current_stats().num_total_runners for one in (where, where.with_options(timeout=70))
    ] == [1, 1]
    assert where.with_options(timeout=71).get_current_stats().num_total_runners == 0


def test_16_update_autoscaler_changes_what_is_given_until_the_next_deploy(server: Server) -> None:
    where = function("where")
    deployed = where.update_autoscaler()
    assert where.update_autoscaler(scaledown_window=7) == {**deployed, "scaledown_window": 7}
    assert where.update_autoscaler(max_containers=2) == {
        **deployed, "scaledown_window": 7, "max_containers": 2,
    }  # fmt: skip
    server.deploy("semantics.py", "--strategy", "recreate")
    assert where.update_autoscaler() == deployed


# --- concurrency, batches, streams --------------------------------------------------------------


def test_17_a_cancelled_input_costs_those_beside_it_neither_container_nor_attempt(
    told: ember.Queue, gate: ember.Queue
) -> None:
    calls = [function("side_by_side").spawn(told, gate) for _ in range(3)]
    where = {next_of(told) for _ in calls}
    calls[1].cancel()
    with pytest.raises(CallCancelledError):
        calls[1].get(timeout=60)
    gate.put_many(["a", "b"])
    others = calls[0], calls[2]
    assert {call.get(timeout=60) for call in others} == {"a", "b"}
    assert [call.status()["attempt"] for call in others] == [1, 1]
    assert {call.status()["container_id"] for call in others} == where


def test_18_methods_share_a_container_and_batches_are_gathered_on_the_server(
    told: ember.Queue, gate: ember.Queue
) -> None:
    shared = instance("Shared")
    calls = [shared.one.spawn(told, gate), shared.other.spawn(told, gate)]
    (one, here), (other, there) = sorted(next_of(told) for _ in calls)
    assert (one, other) == ("one", "other")
    assert here == there, "both at once"
    gate.put_many("ab")
    assert sorted(ember.gather(*calls)) == ["a", "b"]
    assert list(function("together").map([1, 2, 3])) == [3, 3, 3], "with room for five more"
    with pytest.raises(ValueError, match="given 1 inputs in a batch and returned 2 results"):
        function("together").remote(0)


def test_19_the_items_of_a_stream_are_counted_and_whoever_leaves_ends_it(
    server: Server, told: ember.Queue
) -> None:
    counts = function("counts")
    assert list(counts.remote_gen(told, 3)) == [0, 1, 2]
    assert [next_of(told), next_of(told)] == ["runs", "cleans up"]
    items = counts.remote_gen(told, 10**9)
    assert next(items) == 0
    items.close()
    assert [next_of(told), next_of(told)] == ["runs", "cleans up"]
    broken = counts.remote_gen(told, 2, breaks=True)
    assert [next(broken), next(broken)] == [0, 1]
    with pytest.raises(LookupError):
        next(broken)
    assert [next_of(told), next_of(told)] == ["runs", "cleans up"]
    assert told.len() == 0, "with three retries: a caller who has seen a part gets no second run"


def test_20_a_web_answer_leaves_piece_by_piece_and_an_app_hears_of_its_client_s_end(
    server: Server, named: tuple[ember.Queue, ember.Queue]
) -> None:
    told, gate = named
    with contextlib.closing(connect(server)) as connection:
        connection.request("GET", "/", headers={"Host": "semantics-site.localhost"})
        answer = connection.getresponse()
        assert answer.read1() == b"piece"
        gate.put("the next")
        assert answer.read1() == b"piece"
        answer.close()
    assert next_of(told) == "the client has left"
    talk = Talk(server, "semantics-site", "/")
    wait_until("it is an input", lambda: function("site").get_current_stats()[2] == 1)
    talk.messages.close()
    assert next_of(told) == "the socket is closed"


# --- deploys, secrets, images -------------------------------------------------------------------


def test_21_an_app_of_run_goes_with_its_command_and_its_log_is_shown_to_the_end(
    server: Server, tmp_path: Path, abandoned: Callable[[], bool]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(RUN)
    done = server.cli("run", f"{script}::lines", "500")
    assert re.findall(r"line (\d+)$", done.stderr, re.M) == [str(i) for i in range(500)]
    wait_until("an app whose command was killed has gone too", lambda: not abandoned())


def test_22_secrets_are_of_a_container_s_start_and_required_keys_of_the_deploy(
    server: Server, tmp_path: Path
) -> None:
    first, value = function("token").remote()
    assert value == "first"
    server.cli("secret", "create", APP, "TOKEN=second")
    assert function("token").remote() == (first, "first")
    server.cli("container", "stop", first)
    wait_until("it has gone", lambda: not containers(server, "token"))
    assert function("token").remote()[1] == "second"
    script = tmp_path / "needs_more.py"
    code = (APPS / "semantics.py").read_text()
    script.write_text(code.replace('required_keys=["TOKEN"]', 'required_keys=["OTHER"]'))
    assert "OTHER" in server.cli("deploy", script, status=2).stderr


def test_23_an_image_is_named_by_its_chain_and_takes_no_file_that_changes_meanwhile(
    server: Server,
) -> None:
    def image_of(*variables: str) -> str:
        steps = [{"kind": "env", "arguments": [variable]} for variable in variables]
        answer = server.http("POST", "/api/v1/images", {"base": "host", "steps": steps})
        return answer.document["image_id"]

    def source_of(content: bytes) -> str:
        file = {"path": "a", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": 3}
        return server.http("POST", "/api/v1/sources", {"files": [file]}).document["digest"]

    assert image_of("A=1", "B=2") == image_of("A=1", "B=2")
    assert len({image_of("A=1"), image_of("A=1", "B=2"), image_of("B=2", "A=1")}) == 3
    assert source_of(b"old") == source_of(b"old") != source_of(b"new")
    announced = hashlib.sha256(b"old").hexdigest()
    changed = server.http("PUT", f"/api/v1/blobs/{announced}", b"new")
    assert (changed.status, changed.code) == (400, "invalid_argument")


def test_24_arguments_of_megabytes_are_spawned_and_returned_as_small_ones_are() -> None:
    data = os.urandom(5_000_000)
    assert function("reverse").spawn(data).get(timeout=60) == data[::-1]


# --- bills, identity, logs, threads -------------------------------------------------------------


def test_25_the_bill_is_each_container_s_life_from_its_start_to_its_end(server: Server) -> None:
    function("billed").remote()
    wait_until("scaled to zero", lambda: not containers(server, "billed"))

    def by_phase() -> dict[str, int]:
        rows = server.json("cost", "--app", APP, "--by", "function,phase")["rows"]
        mine = [row for row in rows if row["function"] == "billed"]
        return {row["phase"]: row["cpu_millicore_ms"] // 20 for row in mine}

    wait_until("the end is billed", lambda: "idle" in by_phase())
    phases = by_phase()
    assert set(phases) == {"boot", "load", "execute", "idle"}
    assert phases["execute"] >= 200
    assert phases["idle"] >= 900, "until the window is over"


def test_26_each_container_has_an_identity_and_random_numbers_of_its_own(
    told: ember.Queue, gate: ember.Queue
) -> None:
    """Also where it has `enter(snap=True)`, of which a plain start is always the fallback."""
    calls = [instance("Snapped").own.spawn(told, gate) for _ in range(2)]
    for _ in calls:
        next_of(told)
    gate.put_many("ab")
    one, other = ember.gather(*calls)
    assert all(mine != yours for mine, yours in zip(one, other)), (one, other)


def test_27_what_inputs_of_one_container_print_is_told_apart_by_call(
    server: Server, told: ember.Queue, gate: ember.Queue
) -> None:
    calls = {word: function("side_by_side").spawn(told, gate, word) for word in ("red", "blue")}
    assert next_of(told) == next_of(told)
    gate.put_many("ab")
    ember.gather(*calls.values())
    for word, call in calls.items():
        lines = server.cli("logs", APP, "--call", call.call_id).stdout
        assert re.findall(r"(\w+) (?:begins|ends)", lines) == [word, word]


def test_28_sync_code_runs_on_the_main_thread_and_may_hold_the_interpreter(server: Server) -> None:
    assert function("main_thread").remote() == [True, "a loop of its own"]
