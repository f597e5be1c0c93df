"""Classes in real containers: enter once, methods together, exit at the end; each set of parameters
and options in containers of its own."""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, Answer, Server, kill, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def app(server: Server) -> Iterator[str]:
    server.deploy("classes.py")
    yield "classes"
    server.cli("app", "stop", "classes")


def notes(server: Server) -> list[str]:
    return server.result("classes", "Board.read")


def register(server: Server, function: str = "Model", **difference: dict[str, Any]) -> Answer:
    return server.http("POST", f"/api/v1/apps/classes/functions/{function}/variants", difference)


def variant(server: Server, function: str = "Model", **difference: dict[str, Any]) -> str:
    answer = register(server, function, **difference)
    assert answer.status == 200, answer
    return answer.document["variant"]


def call(server: Server, name: str, id: str, **arguments: object) -> Answer:
    return server.http("POST", f"/fn/classes/{name}?variant={id}", arguments)


def result(server: Server, name: str, id: str, **arguments: object) -> Any:
    answer = call(server, name, id, **arguments)
    assert answer.status == 200, answer
    return answer.document


def test_enter_runs_once_and_methods_share_what_it_made(server: Server, app: str) -> None:
    size, x, calls, where = server.result(app, "Model.predict", x=4)
    assert (size, x, calls) == ("7b", 4, 1)
    assert server.result(app, "Model.again") == ["7b", 5, 2, where]
    assert notes(server) == [f"enter 7b {where}"]


def test_exit_runs_when_nobody_calls_any_more(server: Server, app: str) -> None:
    where = server.result(app, "Brief.where")
    wait_until("it has left", lambda: f"exit brief {where}" in notes(server))


def test_exit_runs_after_a_new_deploy(server: Server, app: str) -> None:
    old = server.result(app, "Model.predict")[3]
    server.deploy("classes.py")
    new = server.result(app, "Model.predict")[3]
    assert new != old
    wait_until("it has left", lambda: f"exit 7b {old}" in notes(server))


def test_exit_runs_when_the_server_drains(own_server: Server) -> None:
    server = own_server
    server.deploy("classes.py")
    server.result("classes", "Model.predict")
    server.cli("down")
    server.up()
    assert "left 7b after 1" in server.cli("logs", "classes").stdout


def test_an_enter_that_fails_tells_its_callers_and_is_mended_by_a_deploy(
    server: Server, app_name: str, tmp_path: Path
) -> None:
    script = tmp_path / "loads.py"
    code = f"""
import ember
app = ember.App("{app_name}")

@app.cls()
class Loads:
    @ember.enter()
    def load(self):
        FAIL
    @ember.method()
    def get(self):
        return "loaded"
"""
    script.write_text(code.replace("FAIL", 'raise ValueError("no such weights")'))
    server.cli("deploy", script)
    answer = server.call(app_name, "Loads.get")
    assert (answer.status, answer.code) == (500, "start_failed")
    why = answer.document["error"]["exception"]
    assert (why["type"], why["message"]) == ("ValueError", "no such weights")
    assert "in load" in why["traceback"]
    script.write_text(code.replace("FAIL", "pass"))
    server.cli("deploy", script)
    assert server.result(app_name, "Loads.get") == "loaded"
    server.cli("app", "stop", app_name)


def test_each_set_of_parameters_has_containers_and_state_of_its_own(
    server: Server, app: str
) -> None:
    small, large = (variant(server, parameters={"size": size}) for size in ("1b", "70b"))
    assert variant(server, parameters={"size": "1b"}) == small != large
    first = result(server, "Model.predict", small)
    assert result(server, "Model.predict", small) == ["1b", 0, 2, first[3]]
    other = result(server, "Model.predict", large)
    assert other[:3] == ["70b", 0, 1]
    assert other[3] != first[3]
    held = {row["container_id"]: row["variant"] for row in server.containers(app)}
    assert (held[first[3]], held[other[3]]) == (small, large)
    (entry,) = (
        f
        for f in server.http("GET", f"/api/v1/apps/{app}").document["functions"]
        if f["name"] == "Model"
    )
    assert {one["parameters"]["size"] for one in entry["variants"]} == {"1b", "70b"}


def test_what_is_no_different_is_no_variant(server: Server, app: str) -> None:
    assert variant(server, parameters={"size": "7b"}) is None
    assert variant(server) is None


def test_options_change_what_a_container_has(server: Server, app: str) -> None:
    assert server.result(app, "Model.surroundings") == ["1", None]
    options = {"cpu_millicores": 1100, "env": {"MARK": "here"}, "memory_bytes": 64 << 20}
    id = variant(server, options=options)
    assert result(server, "Model.surroundings", id) == ["2", "here"]
    memory_is_limited = "memory" not in " ".join(server.json("status")["missing"])
    if memory_is_limited:
        assert result(server, "Model.fill", variant(server, options={"memory_bytes": 512 << 20}),
                      mebibytes=200) == 200  # fmt: skip
        assert call(server, "Model.fill", id, mebibytes=200).code == "out_of_memory"
    assert (
        result(server, "limited", variant(server, "limited", options={"env": {"MARK": "f"}})) == "f"
    )


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        ({"parameters": {"sizes": "7b"}}, 'unknown parameter "sizes"; it takes size'),
        ({"parameters": {"size": 7}}, 'the parameter "size" must be str'),
        ({"options": {"image": {}}}, "options.image cannot differ"),
        ({"options": {"timeout_ms": 0}}, "timeout (ms) is 0"),
        ({"options": {"max_containers": 2, "min_containers": 3}}, "min_containers is 3"),
        ({"else": {}}, "else is not a field known here"),
    ],
)
def test_what_cannot_be_a_variant_is_refused(
    server: Server, app: str, difference: dict[str, Any], told: str
) -> None:
    answer = register(server, **difference)
    assert answer.status == 400
    assert told in answer.message


def test_what_is_not_there_is_said(server: Server, app: str) -> None:
    assert register(server, "Nope").status == 404
    missing = server.call(app, "Model.guess")
    assert missing.status == 404
    assert "it has Board.note, Board.read, Model.predict" in missing.message
    assert server.call(app, "Model").status == 404
    unknown = call(server, "Model.predict", "va-0000000000001")
    assert (unknown.status, unknown.code) == (404, "unknown_variant")
    other = variant(server, "limited", options={"env": {"A": "b"}})
    assert call(server, "Model.predict", other).code == "unknown_variant"


def test_sync_and_async_methods_run_beside_each_other(server: Server, app: str) -> None:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(server.result(app, "Mixed.wait")))
    thread.start()
    wait_until("it waits", lambda: any(c["inputs"] for c in server.containers(app)))
    assert server.result(app, "Mixed.come") is True
    thread.join()
    assert answers == [True]


def test_a_function_calls_a_class_with_parameters(server: Server, app: str) -> None:
    size, x, calls, where = server.result(app, "nested", size="3b")
    assert (size, x, calls) == ("3b", 3, 1)
    assert server.result(app, "nested", size="3b") == ["3b", 3, 2, where]


def test_the_next_version_has_none_of_the_variants(server: Server, app: str) -> None:
    before = variant(server, parameters={"size": "1b"})
    old = result(server, "Model.predict", before)
    server.deploy("classes.py")
    assert call(server, "Model.predict", before).code == "unknown_variant"
    after = variant(server, parameters={"size": "1b"})
    assert after != before
    assert result(server, "Model.predict", after)[3] != old[3]


def test_a_killed_serve_adopts_the_containers_of_variants(own_server: Server) -> None:
    server = own_server
    server.deploy("classes.py")
    id = variant(server, parameters={"size": "1b"}, options={"memory_bytes": 200 << 20})
    before = result(server, "Model.predict", id)
    kill(server, "serve")
    server.up()
    wait_until("adopted", lambda: len(server.containers("classes")) == 2)
    answer = call(server, "Model.predict", id)
    assert answer.status == 200, answer
    assert answer.document == ["1b", 0, 2, before[3]]
    assert answer.headers["ember-cold"] == "false"


def test_a_killed_serve_adopts_the_containers_of_an_earlier_version_s_variants(
    own_server: Server,
) -> None:
    server = own_server
    server.deploy("classes.py")
    id = variant(server, "Mixed", options={"timeout_ms": 100_000})

    def wait() -> None:
        with pytest.raises(http.client.RemoteDisconnected):  # serve is killed meanwhile
            call(server, "Mixed.wait", id)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until("it waits", lambda: any(c["inputs"] for c in server.containers("classes")))
    server.deploy("classes.py")
    (held,) = server.containers("classes")
    kill(server, "serve")
    thread.join()
    server.up()
    wait_until(
        "adopted",
        lambda: [c["container_id"] for c in server.containers("classes")] == [held["container_id"]],
    )
    assert server.containers("classes")[0]["variant"] == id


@pytest.mark.parametrize(("spread", "devices"), [(False, 1), (True, 2)])
def test_containers_that_lie_apart_take_devices_without_their_own(
    server: Server, app_name: str, tmp_path: Path, spread: bool, devices: int
) -> None:
    script = tmp_path / "apart.py"
    script.write_text(f"""
import ember
app = ember.App("{app_name}")

@app.cls(gpu="L4", vram="1GB", min_containers=2, spread={spread})
class Shares:
    @ember.method()
    def get(self):
        return 1
""")
    server.cli("deploy", script)
    wait_until("both are there", lambda: len(server.containers(app_name)) == 2)
    held = {id for row in server.containers(app_name) for id in row["devices"]}
    assert len(held) == devices
    server.cli("app", "stop", app_name)


def test_the_command_line_knows_classes(server: Server, app: str) -> None:
    done = server.cli("call", "classes.Model.predict", "3", "--param", "size=9b")
    assert done.stdout.startswith('["9b", 3, 1, ')
    before = server.cli("call", "--param", "size=9b", "classes.Model.predict")
    assert before.stdout.startswith('["9b", 0, 2, ')
    listed = server.cli("function", "list", "classes").stdout
    assert "predict, again" in listed
    assert "classes.Model(size=9b) " in listed
    refused = server.cli("call", "classes.Model.predict", "--param", "siez=9b", status=2)
    assert "did you mean size?" in refused.stderr
    assert "it has: predict" in server.cli("call", "classes.Model", status=2).stderr
    run = server.cli(
        "run", f"{APPS / 'classes.py'}::Model.predict", "--x", "2", "--param", "size=2b"
    )
    assert run.stdout.startswith('["2b", 2, 1, ')


def test_the_sdk_registers_what_it_needs(server: Server) -> None:
    done = server.cli("run", APPS / "classes.py")
    assert done.stdout.splitlines()[:2] == ["['13b', 1, 1] ['13b', 5, 2]", "None x"]
