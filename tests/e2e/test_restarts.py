"""Either process may die: the other goes on, containers are adopted, the next call works."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from conftest import APPS, Answer, wait_until

if TYPE_CHECKING:
    from conftest import Server


def kill(server: Server, role: str) -> None:
    pid = server.pid(role)
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    import select

    select.select([descriptor], [], [], 30)
    os.close(descriptor)


def test_a_killed_serve_comes_back_and_adopts_its_containers(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "versions.py")
    server.result("versions", "version")
    (before,) = server.containers("versions")
    kill(server, "serve")
    server.up()
    wait_until("adopted", lambda: server.containers("versions"))
    answer = server.call("versions", "version")
    assert answer.status == 200
    assert answer.headers["ember-cold"] == "false"
    assert answer.headers["ember-container-id"] == before["container_id"]
    assert [row["state"] for row in server.json("app", "list")["apps"]] == ["deployed"]


def test_a_call_that_a_killed_serve_was_serving_ends_with_an_error(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "waiting.py")
    with server.start("call", "waiting.wait_for_long") as process:
        wait_until("it runs", lambda: any(c["inputs"] for c in server.containers("waiting")))
        kill(server, "serve")
        assert process.wait(timeout=60) == 5  # the platform's fault, and said so
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_killed_node_comes_back_and_the_next_call_works(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "versions.py")
    server.result("versions", "version")
    kill(server, "node")
    server.up()
    wait_until("a node has joined", lambda: server.json("node", "list")["nodes"])
    assert server.result("versions", "version") == 1


def test_down_lets_running_calls_finish(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "basics.py")
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(server.call("basics", "nap", seconds=2))
    )
    thread.start()
    wait_until("it runs", lambda: any(c["inputs"] for c in server.containers("basics")))
    server.cli("down")
    thread.join()
    assert (answers[0].status, answers[0].document) == (200, "rested")
    assert "does not run" in server.cli("down").stderr


def test_apps_and_the_bill_outlive_a_restart(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "versions.py")
    server.result("versions", "version")
    key = server.key
    server.cli("down")
    server.up()
    assert server.key == key
    total = server.json("cost")["total_usd"]
    assert float(total) > 0
    assert server.result("versions", "version") == 1
