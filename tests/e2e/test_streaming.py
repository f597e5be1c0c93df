"""Generators, from a container to whoever reads: item by item, at the reader's pace."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import uuid
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import APPS, CALL_TIMEOUT_S, REPOSITORY, Server, wait_until
from ember import _client, _config
from ember.exception import ContainerCrashedError, InvalidArgumentError

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

    def __init__(self, server: Server, function: str, arguments: object, **headers: str) -> None:
        address = server.url.removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=CALL_TIMEOUT_S)
        self.connection.request(
            "POST", f"/fn/streams/{function}", json.dumps(arguments),
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


def test_run_prints_items(server: Server, tmp_path: Path) -> None:
    done = server.cli("run", REPOSITORY / "examples" / "stream_words.py", "two words")
    assert done.stdout.splitlines()[:2] == ["two", "words"]
