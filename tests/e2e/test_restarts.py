"""Either process may die: the other goes on, containers are adopted, the next call works. `down`
alone leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, Answer, Server, kill, processes_of, running_server, wait_until
from processes import end_of, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@contextlib.contextmanager
def long_call(server: Server) -> Iterator[subprocess.Popen[str]]:
    """A call that runs, and would for ten minutes."""
    server.deploy("waiting.py")
    with server.start("call", "waiting.wait_for_long") as process:
        wait_until("it runs", lambda: any(c["inputs"] for c in server.containers("waiting")))
        yield process


@pytest.mark.parametrize("isolation", ["container", "process"])
def test_down_now_ends_running_calls_and_their_containers(data: Path, isolation: str) -> None:
    server = Server(data)
    if isolation == "container" and os.geteuid() != 0:
        pytest.skip("it takes root to give containers users of their own")
    server.up("--isolation", isolation)
    try:
        with long_call(server) as process:
            server.cli("down", "--now")
            assert processes_of(data) == []
            assert process.wait(timeout=60) == 5
    finally:
        server.cli("down", "--now")


def test_down_ends_the_containers_of_calls_that_serve_has_given_up(own_server: Server) -> None:
    server = own_server
    command = Path(f"/proc/{server.pid('serve')}/cmdline").read_text().split("\0")[:-1]
    limit = command.index("--drain-seconds") + 1
    assert command[limit] == "600"  # what `down` waits for
    kill(server, "serve")
    command[limit] = "1"
    (server.data / "url").unlink()
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("serve is back", lambda: read_text(server.data / "url"))
    with long_call(server) as process:
        server.cli("down")
        assert process.wait(timeout=60) == 5
    assert processes_of(server.data) == []


@pytest.mark.parametrize("died", [("serve",), ("node",), ("serve", "node")], ids=" and ".join)
def test_down_after_a_crash_ends_the_containers_too(
    own_server: Server, died: tuple[str, ...]
) -> None:
    server = own_server
    with long_call(server) as process:
        for role in died:
            kill(server, role)
        server.cli("down", "--now")
        assert process.wait(timeout=60) == 5
    assert processes_of(server.data) == []
    assert "does not run" in server.cli("down").stderr


@pytest.mark.parametrize("died", [("node",), ("serve", "node")], ids=" and ".join)
def test_down_after_a_crash_without_containers_ends_the_nodes_helpers(
    own_server: Server, died: tuple[str, ...]
) -> None:
    server = own_server
    for role in died:
        kill(server, role)
    server.cli("down")
    assert processes_of(server.data) == []
    assert "does not run" in server.cli("down").stderr


def test_a_node_ends_the_helpers_of_one_that_was_killed() -> None:
    with running_server("--network", "slirp4netns") as server:
        a_node_ends_the_helpers_of_one_that_was_killed(server)


def a_node_ends_the_helpers_of_one_that_was_killed(server: Server) -> None:
    def helpers() -> set[int]:
        return {one.pid for one in processes_of(server.data) if "slirp4netns" in one.program}

    wait_until("there are spare networks", helpers)
    kill(server, "node")
    before = helpers()
    assert before
    server.up()
    wait_until("they are gone", lambda: not before & helpers())


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


def test_two_ups_at_once_start_one_server(data: Path) -> None:
    server = Server(data)
    words = ("up", "--listen", "127.0.0.1:0", "--json")
    try:
        with server.start(*words) as first, server.start(*words) as second:
            told = [process.communicate(timeout=60) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), told
        assert [json.loads(out)["url"] for out, _ in told] == [server.url] * 2
        assert sum("Ember runs already" in said for _, said in told) == 1
        assert server.json("status")["nodes"] == 1
    finally:
        server.cli("down", "--now")


def test_a_failed_start_leaves_alone_what_others_run(own_server: Server) -> None:
    server = own_server
    node = server.pid("node")
    kill(server, "serve")
    server.cli("up", "--listen", "nonsense", status=5)
    assert server.pid("node") == node
    server.up()


class HeldCall:
    """A call that runs, and goes on only once it is let go."""

    def __init__(self, server: Server) -> None:
        self.answer: Answer | None = None
        self._server = server
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        wait_until("it waits", lambda: self._runner())

    def _call(self) -> None:
        self.answer = self._server.call("draining", "wait_then_double", a=21)

    def _runner(self) -> int | None:
        """The process that waits for the signal, which it catches."""
        for process in processes_of(self._server.data):
            _, _, masks = read_text(f"/proc/{process.pid}/status").partition("SigCgt:")
            caught = int(masks.split()[0], 16) if masks else 0
            is_python = process.program.startswith("/usr/bin/python3")
            if is_python and caught >> (signal.SIGUSR2 - 1) & 1:
                return process.pid
        return None

    def let_go(self) -> Answer:
        runner = self._runner()
        assert runner is not None
        assert self.answer is None
        os.kill(runner, signal.SIGUSR2)
        self._thread.join()
        assert self.answer is not None
        return self.answer


def test_a_drain_lets_what_runs_finish_and_refuses_the_rest(own_server: Server) -> None:
    server = own_server
    server.deploy("draining.py")
    held = HeldCall(server)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /fn/draining/double HTTP/1.1\r\nHost: localhost\r\n")
        ended = end_of(server.pid("serve"), signal.SIGTERM)
        wait_until("it drains", lambda: drains(server))
        try:
            refused = server.call("draining", "double", a=1)
        except ConnectionError:
            pass
        else:
            assert (refused.status, refused.code) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
        answer = held.let_go()  # what it calls on is not refused: it would not finish
        assert (answer.status, answer.document) == (200, 42)
        assert ended(), "it waits for a request that is not to come"
    assert "] drained" in (server.data / "serve.log").read_text()
    server.up()


def test_a_node_that_is_terminated_leaves_its_containers_at_work(own_server: Server) -> None:
    server = own_server
    server.deploy("draining.py")
    held = HeldCall(server)
    assert end_of(server.pid("node"), signal.SIGTERM)()
    server.up()
    answer = held.let_go()
    assert (answer.status, answer.document, answer.headers["ember-attempt"]) == (200, 42, "1")


def drains(server: Server) -> bool:
    try:
        return server.http("GET", "/healthz").status == 503
    except ConnectionError:  # it came just before the server closed what was idle
        return False


@pytest.mark.parametrize("stopped_by", ["down", "signal"])
def test_up_waits_for_a_server_that_is_stopping(own_server: Server, stopped_by: str) -> None:
    server = own_server
    before = server.pid("serve")
    with contextlib.ExitStack() as stack:
        call = stack.enter_context(long_call(server))
        if stopped_by == "down":
            stack.enter_context(server.start("down"))
        else:
            os.kill(before, signal.SIGTERM)
        wait_until("it drains", lambda: drains(server))
        up = stack.enter_context(server.start("up", "--listen", "127.0.0.1:0", "--json"))
        assert up.stderr is not None
        assert "Ember is stopping" in up.stderr.readline()
        call.send_signal(signal.SIGINT)
        url = json.loads(up.communicate(timeout=60)[0])["url"]
    assert up.returncode == 0
    assert server.pid("serve") != before
    assert (server.url, server.json("status")["nodes"]) == (url, 1)


def test_a_call_without_a_node_says_why_it_waits(own_server: Server) -> None:
    server = own_server
    server.deploy("basics.py")
    kill(server, "node")
    with server.start("call", "basics.add", "1") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting: no node is connected; run `ember up`")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    server.up()


def test_what_starts_again_alone_starts_as_before(own_server: Server) -> None:
    server = own_server

    def devices() -> list[str]:
        (node,) = server.json("node", "list")["nodes"]
        return [device["type"] for device in node["devices"]]

    kill(server, "node")
    server.cli("up")
    assert devices() == ["L4", "L4"]
    kill(server, "node")
    server.cli("up", "--simulate-gpus", "H100:1")
    assert devices() == ["H100"]
    kill(server, "serve")
    told = server.cli("up", "--simulate-gpus", "T4:1").stderr
    assert "emberd node runs as it was started" in told
    assert not server.url.endswith(":7777")
    assert devices() == ["H100"]


def test_what_is_kept_and_for_how_long_is_told_to_the_server_and_remembered(
    own_server: Server,
) -> None:
    server = own_server

    def limits() -> dict[str, str]:
        words = Path(f"/proc/{server.pid('serve')}/cmdline").read_text().split("\0")
        return {
            name: word
            for name, word in pairwise(words)
            if name.startswith(("--log-", "--results-"))
        }

    assert limits() == {
        "--log-container-mib": "16", "--log-app-mib": "256", "--log-total-mib": "1024",
        "--results-days": "7",
    }  # fmt: skip
    told = {
        "--log-container-mib": "1", "--log-app-mib": "2", "--log-total-mib": "3",
        "--results-days": "30",
    }  # fmt: skip
    kill(server, "serve")
    server.cli("up", *(word for pair in told.items() for word in pair))
    assert limits() == told
    kill(server, "serve")
    server.cli("up")
    assert limits() == told
