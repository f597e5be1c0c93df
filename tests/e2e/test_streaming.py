"""Generators, from a container to whoever reads: item by item, at the reader's pace."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import pty
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import APPS, CALL_TIMEOUT_S, REPOSITORY, Server, wait_until
from ember import _client, _config
from ember.exception import ContainerCrashedError, EmberError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES = pytest.mark.parametrize(
    "function", ["steps", "steps_async", "steps_threaded", "Reader.steps"]
)


@pytest.fixture(scope="module")
def streams(server: Server) -> Iterator[str]:
    """The deployed app of `apps/streams.py`, and this process's SDK speaking to its server."""
    server.deploy("streams.py")
    before = _client._shared
    _client._shared = _client.Client(_config.Config(server.url, server.key))
    yield "streams"
    _client._shared = before
    server.cli("app", "stop", "streams")


@pytest.fixture
def name() -> str:
    """Of the gates and notes of this test."""
    return uuid.uuid4().hex[:8]


def handle(function: str) -> ember.Function[..., Any]:
    if "." in function:
        name, _, method = function.partition(".")
        return getattr(ember.Cls.from_name("streams", name)(), method)
    return ember.Function.from_name("streams", function)


def open_gate(name: str, i: int) -> None:
    handle("gate").remote("open", f"{name}-{i}")


def notes(name: str) -> list[Any]:
    return handle("gate").remote("read", name)


class Reader:
    """A call over HTTP whose answer is read line by line."""

    def __init__(
        self, server: Server, function: str, arguments: object, app: str = "streams", **headers: str
    ) -> None:
        address = server.url.removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=CALL_TIMEOUT_S)
        self.connection.request(
            "POST", f"/fn/{app}/{function}", json.dumps(arguments),
            {"Authorization": f"Bearer {server.key}", **headers},
        )  # fmt: skip
        self.answer = self.connection.getresponse()

    def line(self) -> str:
        return self.answer.readline().decode().rstrip("\n")

    def event(self) -> tuple[str, Any]:
        """The next event's name and its data."""
        name = ""
        while not (line := self.line()).startswith("data: "):
            name = line.removeprefix("event: ") if line.startswith("event: ") else name
        assert self.line() == ""
        return name, json.loads(line.removeprefix("data: "))

    def close(self) -> None:
        self.connection.close()
        self.answer.close()


@MODES
def test_each_item_comes_before_the_next_is_made(streams: str, name: str, function: str) -> None:
    items = handle(function).remote_gen(name, 4)
    for i in range(4):
        if i:
            open_gate(name, i)
        assert next(items)["i"] == i
    assert list(items) == []
    assert notes(name) == ["finally"]


def test_async_code_reads_items_too(streams: str, name: str) -> None:
    async def read() -> list[int]:
        got = []
        async for item in handle("steps_async").remote_gen.aio(name, 3):
            got.append(item["i"])
            await handle("gate").remote.aio("open", f"{name}-{len(got)}")
        return got

    assert asyncio.run(read()) == [0, 1, 2]


def test_async_code_that_leaves_has_the_generator_clean_up(streams: str, name: str) -> None:
    async def leave() -> None:
        items = handle("steps").remote_gen.aio(name, 100)
        await items.__anext__()
        await items.aclose()

    asyncio.run(leave())
    wait_until("it has cleaned up", lambda: notes(name) == ["finally"])


def test_http_has_one_json_document_a_line(server: Server, streams: str, name: str) -> None:
    reader = Reader(server, "steps", {"name": name, "n": 2})
    assert reader.answer.status == 200
    assert reader.answer.headers["content-type"] == "application/x-ndjson"
    call_id = reader.answer.headers["ember-call-id"]
    assert json.loads(reader.line()) == {"i": 0, "text": "line\nbreak"}
    open_gate(name, 1)
    assert json.loads(reader.line())["i"] == 1
    assert reader.line() == ""
    assert server.json("call", "show", call_id)["state"] == "succeeded"


def test_http_has_server_sent_events(server: Server, streams: str, name: str) -> None:
    reader = Reader(server, "steps", {"name": name, "n": 2}, Accept="text/event-stream")
    assert reader.answer.headers["content-type"] == "text/event-stream"
    event, data = reader.event()
    while event == "status":
        assert data["phase"] in ("queued", "starting", "running")
        event, data = reader.event()
    assert (event, data["i"]) == ("", 0)
    open_gate(name, 1)
    assert reader.event()[1]["i"] == 1
    event, report = reader.event()
    assert (event, report["items"]) == ("end", 2)
    assert report["call_id"] == reader.answer.headers["ember-call-id"]
    assert float(report["cost_usd"]) >= 0


def test_a_call_that_waits_for_a_start_says_so_before_its_result(
    own_server: Server, app_name: str
) -> None:
    """On a fleet with room: with others' containers there it might wait for that first."""
    own_server.cli("deploy", APPS / "versions.py", "--name", app_name)
    connection = http.client.HTTPConnection(own_server.url.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request(
            "POST", f"/fn/{app_name}/version", "{}",
            {"Authorization": f"Bearer {own_server.key}", "Accept": "text/event-stream"},
        )  # fmt: skip
        text = connection.getresponse().read().decode()
    names = [line for line in text.splitlines() if line.startswith("event: ")]
    assert names[0] == "event: status"
    assert '"phase": "starting"' in text
    assert names[-2:] == ["event: result", "event: end"]


def test_who_waits_for_a_start_is_told_how_long_the_last_ones_took(
    own_server: Server, app_name: str
) -> None:
    own_server.cli("deploy", APPS / "versions.py", "--name", app_name)
    left: list[object] = []
    for _ in range(2):
        reader = Reader(own_server, "version", {}, app_name, Accept="text/event-stream")
        event, data = reader.event()
        assert (event, data["phase"], data["ahead"]) == ("status", "starting", 0)
        left.append(data["left_ms"])
        while event != "end":
            event, data = reader.event()
        reader.close()
        (row,) = own_server.containers(app_name)
        own_server.cli("container", "stop", row["container_id"], "--now")
        wait_until("it has gone", lambda: not own_server.containers(app_name))
    assert left[0] is None
    assert isinstance(left[1], int)
    assert left[1] > 0


def test_what_a_function_says_of_how_far_it_is_comes_to_who_reads(
    server: Server, streams: str, name: str
) -> None:
    reader = Reader(server, "tells_between", {"name": name}, Accept="text/event-stream")
    events = []
    while not events or events[-1][0] != "progress":
        events.append(reader.event())
    assert next(event for event in events if event[0] != "status") == ("", 1)
    assert events[-1][1]["step"] == 1
    assert events[-1][1]["metrics"] == {"loss": 0.5}
    handle("gate").remote("open", name)
    assert reader.event() == ("", 2)
    assert reader.event()[0] == "end"


def test_what_a_plain_function_says_comes_before_its_result(
    server: Server, streams: str, name: str
) -> None:
    handle("tells_steps").remote(open_before(name))  # its container is there
    reader = Reader(server, "tells_steps", {"name": f"{name}-2"}, Accept="text/event-stream")
    event, data = reader.event()
    assert (event, data["step"], data["total"]) == ("progress", 1, 2)
    open_before(f"{name}-2")
    assert reader.event() == ("result", 5)
    assert reader.event()[0] == "end"


def open_before(name: str) -> str:
    handle("gate").remote("open", name)
    return name


def test_what_a_broken_stream_had_run_is_billed_and_nothing_more(
    server: Server, app_name: str, name: str
) -> None:
    server.cli("deploy", APPS / "streams.py", "--name", app_name)
    reader = Reader(server, "steps", {"name": name, "n": 9}, app_name)
    assert json.loads(reader.line())["i"] == 0
    call_id = reader.answer.headers["ember-call-id"]
    reader.close()
    ended = {"verb": "read", "name": name}
    wait_until("it has cleaned up", lambda: server.result(app_name, "gate", **ended) == ["finally"])
    call = server.json("call", "show", call_id)
    assert (call["state"], call["attempt"]) == ("cancelled", 1)
    (container,) = [row for row in server.containers(app_name) if row["function"] == "steps"]
    server.cli("container", "stop", container["container_id"])

    def executed_ms() -> list[float]:
        """By the ledger, once the container's last entry is there."""
        path = f"/api/v1/cost?by=function,phase,meter&app={app_name}"
        rows = [
            row for row in server.http("GET", path).document["rows"]
            if row["function"] == "steps" and row["meter"] == "cpu"
        ]  # fmt: skip
        gone = all(row["function"] != "steps" for row in server.containers(app_name))
        phases = {row["phase"]: row["cpu_millicore_ms"] / 125 for row in rows}
        return [phases.get("execute", 0.0)] if gone and phases else []  # no row is for no whole ms

    wait_until("all is billed", executed_ms)
    assert executed_ms()[0] == pytest.approx(call["execute_us"] / 1000, abs=2)
    server.cli("app", "stop", app_name)


def test_an_error_in_the_middle_follows_the_items_before_it(server: Server, streams: str) -> None:
    items = handle("breaks").remote_gen(2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(LookupError, match="nothing is left"):
        next(items)
    reader = Reader(server, "breaks", {"n": 1})
    assert reader.line() == "0"
    error = json.loads(reader.line())["error"]
    assert (error["code"], error["exception"]["type"]) == ("user_exception", "LookupError")
    before_any = server.call("streams", "breaks", n=0)
    assert (before_any.status, before_any.code) == (500, "user_exception")


@MODES
def test_a_reader_that_leaves_has_the_generator_clean_up(
    streams: str, name: str, function: str
) -> None:
    for _ in handle(function).remote_gen(name, 100):
        break
    wait_until("it has cleaned up", lambda: notes(name) == ["finally"])


def test_a_client_that_hangs_up_has_a_busy_generator_clean_up(
    server: Server, streams: str, name: str
) -> None:
    reader = Reader(server, "busy", {"name": name})
    assert reader.line() == "1"
    call_id = reader.answer.headers["ember-call-id"]
    reader.close()
    wait_until("it has cleaned up", lambda: notes(name) == ["finally"])
    assert server.json("call", "show", call_id)["state"] == "cancelled"


def resident_kib(server: Server) -> int:
    with open(f"/proc/{server.pid('serve')}/status", encoding="utf-8") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


def test_a_slow_reader_holds_its_producer_and_costs_little_memory(
    server: Server, streams: str, name: str
) -> None:
    """Of a GiB one MiB is read. What the sockets between hold is the kernel's to say."""
    before_kib = resident_kib(server)
    items = handle("flood").remote_gen(name, 1024)
    for _ in range(16):
        next(items)
    made: list[str] = []

    def stands_still() -> bool:
        path = "/api/v1/logs?app=streams&function=flood&last=1"
        made.append(server.http("GET", path).document["text"])
        return len(made) >= 20 and len(set(made[-20:])) == 1

    wait_until("it stands still", stands_still)
    assert resident_kib(server) - before_kib < 64 << 10
    items.close()
    wait_until("it has cleaned up", lambda: len(notes(name)) == 1)
    assert made[-1] == f"made {notes(name)[0]}"
    assert 16 < notes(name)[0] < 16 * 64  # of 16 Ki


def test_a_container_killed_in_the_middle_fails_the_stream_and_nothing_runs_again(
    server: Server, streams: str, name: str
) -> None:
    items = handle("doomed").remote_gen(name)
    assert next(items) == "first"
    (container,) = [
        row["container_id"] for row in server.containers("streams") if row["function"] == "doomed"
    ]
    server.cli("container", "stop", container, "--now")
    with pytest.raises(ContainerCrashedError, match="the stream broke after 1 item"):
        next(items)
    assert notes(name) == ["ran"]


@pytest.mark.parametrize("function", ["relay", "relay_async"])
def test_items_pass_through_a_container_one_by_one(streams: str, name: str, function: str) -> None:
    items = handle(function).remote_gen(name, 3)
    for i in range(3):
        if i:
            open_gate(name, i)
        assert next(items) == i
    assert list(items) == []


def test_a_loop_that_is_left_in_a_container_cancels_the_call(streams: str, name: str) -> None:
    assert handle("first_of").remote(name, 100) == 0
    wait_until("it has cleaned up", lambda: notes(name) == ["finally"])


def test_one_result_and_items_are_not_asked_of_each_other(
    server: Server, streams: str, name: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"iterate over \.remote_gen\("):
        handle("steps").remote(name, 1)
    with pytest.raises(InvalidArgumentError, match=r"call \.remote\("):
        next(handle("plain").remote_gen(1))
    answer = server.http("POST", "/fn/streams/steps", {"name": name, "n": 1},
                         Accept="application/json")  # fmt: skip
    assert (answer.status, answer.code) == (400, "invalid_argument")
    answer = server.http("POST", "/fn/streams/plain", {"n": 1}, Accept="application/x-ndjson")
    assert (answer.status, answer.code) == (400, "invalid_argument")
    answer = server.http("POST", "/fn/streams/steps?mode=async", {"name": name, "n": 1})
    assert (answer.status, answer.code) == (400, "invalid_argument")
    with pytest.raises(InvalidArgumentError, match=r"iterate over \.remote_gen\("):
        handle("steps").spawn(name, 1)


def test_a_generator_is_not_mapped_over_nor_returned(server: Server, streams: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is a generator function.*\.remote_gen\("):
        list(handle("counts").map([1, 2]))
    with pytest.raises(EmberError, match=r"can't be pickled.*yields them itself.*\.remote_gen\("):
        handle("gives_a_generator").remote(3)
    answer = server.call("streams", "gives_a_generator", n=3)
    assert answer.status == 500
    assert "yields them itself" in answer.message


@pytest.mark.parametrize("cls", ["Model", "AsyncModel"])
def test_a_method_of_a_class_may_be_a_generator_of_what_it_has_loaded(
    server: Server, streams: str, name: str, cls: str
) -> None:
    model: Any = ember.Cls.from_name("streams", cls)()
    voice = "plain voice" if cls == "Model" else "async voice"
    items = model.words.remote_gen(name, 3)
    assert next(items) == f"{voice} 0"
    open_gate(name, 1)
    assert next(items) == f"{voice} 1"
    items.close()
    wait_until("it has cleaned up", lambda: notes(name) == ["finally"])
    with pytest.raises(InvalidArgumentError, match=rf"{cls}\.words is a generator function"):
        model.words.remote(name, 1)
    with pytest.raises(InvalidArgumentError, match=rf"{cls}\.words is a generator function"):
        model.words.spawn(name, 1)


def test_methods_of_both_kinds_share_a_container(server: Server, streams: str, name: str) -> None:
    model: Any = ember.Cls.from_name("streams", "Model")(voice="low")
    assert list(model.words.remote_gen(name, 1)) == ["low voice 0"]
    assert model.count.remote() == len("low voice")
    with pytest.raises(InvalidArgumentError, match=r"Model\.count is no generator function"):
        next(model.count.remote_gen())
    done = server.cli("call", "streams.Model.words", f"{name}-cli", "1")
    assert done.stdout == "plain voice 0\n"


def test_a_generator_runs_with_other_options_in_a_pool_of_its_own(streams: str) -> None:
    counting = handle("counts").with_options(timeout=70)
    assert list(counting.remote_gen(3)) == [0, 1, 2]
    assert handle("counts_elsewhere").remote(3) == [0, 1, 2]


def test_a_generator_is_tried_again_before_its_first_item_alone(streams: str, name: str) -> None:
    assert list(handle("flaky").remote_gen(name, 2)) == [2]
    items = handle("flaky_later").remote_gen(f"{name}-later")
    assert next(items) == 1
    with pytest.raises(LookupError):
        next(items)
    assert notes(f"{name}-later") == ["ran"]


# --- the command line ---


def test_call_prints_items_as_they_come(server: Server, streams: str, name: str) -> None:
    with server.start("call", "streams.steps", name, "2") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["i"] == 0
        open_gate(name, 1)
        assert json.loads(process.stdout.readline())["i"] == 1
        assert process.wait(CALL_TIMEOUT_S) == 0
        assert process.stderr is not None
        assert "execute" in process.stderr.read()
    done = server.cli("call", "streams.steps", f"{name}-once", "1", "--json")
    assert json.loads(done.stdout)["i"] == 0


def test_interrupting_call_cancels_the_generator(server: Server, streams: str, name: str) -> None:
    with server.start("call", "streams.steps", name, "9") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        wait_until("it has cleaned up", lambda: notes(name) == ["finally"])
        assert process.wait(CALL_TIMEOUT_S) == 130


def test_call_fails_with_what_the_generator_raised(server: Server, streams: str) -> None:
    done = server.cli("call", "streams.breaks", "2", status=1)
    assert done.stdout == "0\n1\n"
    assert "nothing is left" in done.stderr


class Terminal:
    """A program at a terminal, of which all that is shown is kept."""

    def __init__(self, server: Server, *command: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdout=theirs, stderr=theirs,
            env={**server.environment, "EMBER_URL": server.url, "TERM": "xterm", "COLUMNS": "200"},
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def expect(self, text: str) -> None:
        """Reads until it has come."""
        while text not in self.shown:
            assert self._read(), self.shown

    def end(self) -> str:
        """All that was shown."""
        while self._read():
            pass
        os.close(self._ours)
        assert self.process.wait(CALL_TIMEOUT_S) == 0, self.shown
        return self.shown

    def _read(self) -> bool:
        try:
            piece = os.read(self._ours, 4096)
        except OSError:
            return False  # the end of a terminal
        self.shown += piece.decode()
        return bool(piece)


SCRIPT = """
import ember
with ember.enable_output():
    for item in ember.Function.from_name("streams", "steps").remote_gen("{name}", 1):
        print(item["i"])
"""


@pytest.mark.parametrize("who", ["command", "script"])
def test_at_a_terminal_a_line_says_why_a_call_waits_until_it_runs(
    server: Server, streams: str, name: str, who: str
) -> None:
    """Behind another call on the one container that there may be."""
    before = handle("steps").remote_gen(f"{name}-before", 2)
    next(before)
    words = server.command("call", "streams.steps", name, "1")
    script = [sys.executable, "-c", SCRIPT.format(name=name)]
    terminal = Terminal(server, *(words if who == "command" else script))
    prefix = "waiting: " if who == "command" else "streams.steps "
    terminal.expect(f"{prefix}waits for a free slot on 1 ready container; it is the first")
    open_gate(f"{name}-before", 1)
    assert len(list(before)) == 1
    shown = terminal.end()
    assert '"i": 0' in shown or "\r\x1b[K0\r\n" in shown, "the items take the line's place"


def test_run_prints_items(server: Server, tmp_path: Path) -> None:
    done = server.cli("run", REPOSITORY / "examples" / "stream_words.py", "two words")
    assert done.stdout.splitlines()[:2] == ["two", "words"]
