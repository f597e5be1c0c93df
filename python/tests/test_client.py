"""The HTTP client against a small server; errors and what becomes of them."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_server import Answer, Asked, FakeServer, document

from ember import _client, _config, _http, exception

Serve = Callable[[Callable[[Asked], Answer]], tuple[FakeServer, _client.Client]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[FakeServer] = []

    def start(answer: Callable[[Asked], Answer]) -> tuple[FakeServer, _client.Client]:
        servers.append(FakeServer(answer))
        return servers[-1], _client.Client(_config.Config(servers[-1].url, "secret"))

    yield start
    for server in servers:
        server.close()


def test_requests_carry_the_key_and_share_a_connection(serve: Serve) -> None:
    server, client = serve(lambda _: document({"apps": []}))
    assert client.get_json("/api/v1/apps", app="a b&c", limit=None, follow=True) == {"apps": []}
    client.post_json("/api/v1/apps/x/stop")
    client.upload("/api/v1/blobs/ff", b"\0bytes")
    first, second, third = server.asked
    assert first.path == "/api/v1/apps?app=a%20b%26c&follow=true"
    assert first.headers["authorization"] == "Bearer secret"
    assert (second.method, second.json) == ("POST", {})
    assert (third.method, third.body) == ("PUT", b"\0bytes")
    assert len({asked.client_port for asked in server.asked}) == 1


def test_a_connection_that_the_server_closed_is_not_used_again(serve: Serve) -> None:
    server, client = serve(lambda _: document({}, Connection="close"))
    client.get_json("/1")
    client.get_json("/2")
    assert len({asked.client_port for asked in server.asked}) == 2


def test_threads_use_connections_of_their_own(serve: Serve) -> None:
    together = threading.Barrier(8, timeout=30)

    def answer(asked: Asked) -> Answer:
        together.wait()
        return document({"path": asked.path})

    _, client = serve(answer)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: client.get_json(f"/{i}"), range(8))
        assert [got["path"] for got in answers] == [f"/{i}" for i in range(8)]


def test_a_part_of_a_file_is_sent_as_it_is_and_one_that_is_not_there_is_told(
    serve: Serve, tmp_path: Path
) -> None:
    server, client = serve(lambda _: document({"whole": True}))
    data = random.Random(7).randbytes(3 << 20)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        part = _http.FilePart(file.fileno(), 5, len(data) - 9)
        assert client.send_file("/api/v1/files/x/chunks/0", part) == {"whole": True}
        with pytest.raises(EOFError):
            client.send_file("/api/v1/files/x", _http.FilePart(file.fileno(), 5, len(data)))
        assert client.send_file("/x", _http.FilePart(file.fileno(), 0, 1)) == {"whole": True}
    assert server.asked[0].body == data[5:-4]
    (last,) = (asked for asked in server.asked if asked.path == "/x")
    assert last.body == data[:1]  # the one that broke off may be read after it


def test_a_stream_gives_each_document_as_it_comes(serve: Serve) -> None:
    _, client = serve(lambda _: (200, {}, [b'{"a": 1}\n{"b"', b": 2}\n\n", b'{"c": 3}']))
    assert list(client.stream_ndjson("/logs")) == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_stream_that_is_refused_raises(serve: Serve) -> None:
    error = {"error": {"code": "not_found", "message": "no app x"}}
    _, client = serve(lambda _: document(error, 404))
    with pytest.raises(exception.NotFoundError, match="no app x"):
        list(client.stream_ndjson("/logs"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_argument", exception.InvalidArgumentError),
        ("unauthenticated", exception.AuthError),
        ("permission_denied", exception.PermissionDeniedError),
        ("not_found", exception.NotFoundError),
        ("conflict", exception.ConflictError),
        ("payload_too_large", exception.PayloadTooLargeError),
        ("timed_out", exception.FunctionTimeoutError),
        ("cancelled", exception.CallCancelledError),
        ("container_crashed", exception.ContainerCrashedError),
        ("out_of_memory", exception.OutOfMemoryError),
        ("start_failed", exception.StartFailedError),
        ("internal", exception.InternalError),
        ("some_day_perhaps", exception.InternalError),
    ],
)
def test_each_code_has_its_exception(serve: Serve, code: str, kind: type[Exception]) -> None:
    error = {"error": {"code": code, "message": "why; what next", "call_id": "fc-1"}}
    _, client = serve(lambda _: document(error, 500))
    with pytest.raises(exception.EmberError) as raised:
        client.get_json("/")
    assert type(raised.value) is kind
    assert str(raised.value) == "why; what next"
    assert raised.value.call_id == "fc-1"


@pytest.mark.parametrize("code", ["resource_exhausted", "unavailable", "storage_failed"])
def test_errors_to_be_retried_say_when(serve: Serve, code: str) -> None:
    error = {"error": {"code": code, "message": "full"}}
    _, client = serve(lambda _: document(error, 429, Retry_After="7"))
    with pytest.raises((exception.ResourceExhaustedError, exception.UnavailableError)) as raised:
        client.get_json("/")
    assert raised.value.retry_after_s == 7


def test_a_limit_that_is_reached_is_named(serve: Serve) -> None:
    limit = {"name": "queue_limit", "value": 10}
    error = {"error": {"code": "resource_exhausted", "message": "full", "limit": limit}}
    _, client = serve(lambda _: document(error, 429, Retry_After="7"))
    with pytest.raises(exception.ResourceExhaustedError) as raised:
        client.get_json("/")
    assert (raised.value.limit, raised.value.limit_value) == ("queue_limit", 10)


def test_a_call_from_a_container_that_is_refused_says_when_to_come_back() -> None:
    body = {"kind": "resource_exhausted", "message": "full", "retry_after_s": 7}
    error = exception.from_report(body, unpickle=False)
    assert isinstance(error, exception.ResourceExhaustedError)
    assert error.retry_after_s == 7


def test_an_answer_that_is_not_embers_says_so(serve: Serve) -> None:
    _, client = serve(lambda _: (502, {}, b"<html>"))
    with pytest.raises(exception.InternalError, match=r"status 502 .* is EMBER_URL"):
        client.get_json("/")


def test_a_server_that_is_not_there_says_how_to_start_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    client = _client.Client(_config.Config(url, "k"))
    with pytest.raises(exception.UnavailableError, match="ember up"):
        client.get_json("/")


def test_a_server_that_hangs_up_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = _client.Client(_config.Config(url, "k"))

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(exception.UnavailableError, match="hung up"):
            client.get_json("/")
        thread.join()


def report(**fields: Any) -> dict[str, Any]:
    full = {"kind": "user_exception", "type": "ValueError", "message": "no", "status": 500}
    full |= {"traceback": "Traceback: user_code.py", "pickle": None, **fields}
    return {"code": "user_exception", "message": "", "call_id": "fc-9", "exception": full}


def test_a_users_exception_keeps_its_type_and_remote_traceback() -> None:
    pickled = base64.b64encode(pickle.dumps(ZeroDivisionError("by zero"))).decode()
    error = exception.from_error_body(report(pickle=pickled), unpickle=True)
    assert type(error) is ZeroDivisionError
    assert error.args == ("by zero",)
    assert isinstance(error.__cause__, exception.RemoteTraceback)
    assert "user_code.py" in str(error.__cause__)


@pytest.mark.parametrize(
    "pickled",
    [None, "!", base64.b64encode(b"junk").decode(),
     base64.b64encode(pickle.dumps(SystemExit(3))).decode(),
     base64.b64encode(pickle.dumps("text")).decode()],
)  # fmt: skip
def test_an_exception_that_cannot_be_rebuilt_degrades_to_text(pickled: str | None) -> None:
    error = exception.from_error_body(report(pickle=pickled), unpickle=True)
    assert isinstance(error, exception.RemoteError)
    assert (str(error), error.type_name) == ("ValueError: no", "ValueError")
    assert (error.call_id, error.traceback) == ("fc-9", "Traceback: user_code.py")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bad_arguments", exception.InvalidArgumentError),
        ("cancelled", exception.CallCancelledError),
        ("result_not_serializable", exception.ResultNotSerializableError),
        ("load_failed", exception.StartFailedError),
    ],
)
def test_each_kind_of_report_has_its_exception(kind: str, expected: type[Exception]) -> None:
    assert type(exception.from_error_body(report(kind=kind))) is expected


def test_errors_of_ember_survive_pickling() -> None:
    error = exception.ResourceExhaustedError("full", call_id="fc-1", retry_after_s=2)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.call_id, again.retry_after_s) == (
        type(error), "full", "fc-1", 2,
    )  # fmt: skip


def test_the_environment_goes_before_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBER_DATA", str(tmp_path))
    monkeypatch.delenv("EMBER_URL", raising=False)
    monkeypatch.delenv("EMBER_KEY", raising=False)
    with pytest.raises(exception.UnavailableError, match="ember up"):
        _config.load()
    (tmp_path / "url").write_text("http://127.0.0.1:7777/\n")
    with pytest.raises(exception.AuthError, match="EMBER_KEY"):
        _config.load()
    (tmp_path / "key").write_text("from-file\n")
    assert (_config.load().url, _config.load().key) == ("http://127.0.0.1:7777", "from-file")
    monkeypatch.setenv("EMBER_KEY", "from-environment")
    monkeypatch.setenv("EMBER_URL", "http://there:1")
    assert (_config.load().url, _config.load().key) == ("http://there:1", "from-environment")


def test_async_calls_work_on_one_loop_after_another(serve: Serve) -> None:
    server, client = serve(lambda asked: (200, {"Ember-Call-Id": "fc-2"}, asked.body))
    told: list[dict[str, str]] = []
    client.on_call = told.append

    async def several() -> list[bytes]:
        calls = (client.call_async("a", "f", str(i).encode(), _client.PICKLE) for i in range(3))
        return [reply.body for reply in await asyncio.gather(*calls)]

    assert asyncio.run(several()) == [b"0", b"1", b"2"]
    assert asyncio.run(several()) == [b"0", b"1", b"2"]
    assert client.call("a", "f", b"x", _client.JSON).body == b"x"
    assert [headers["ember-call-id"] for headers in told] == ["fc-2"] * 7
    assert server.asked[0].path == "/fn/a/f"


def test_a_failed_call_raises_for_async_callers_too(serve: Serve) -> None:
    _, client = serve(lambda _: document({"error": report()}, 500))
    with pytest.raises(exception.RemoteError, match="ValueError: no"):
        asyncio.run(client.call_async("a", "f", json.dumps({}).encode(), _client.JSON))


# --- items of generators ---

SILENCE, ITEM, ERROR, END = range(4)


def item_frame(kind: int, body: bytes) -> bytes:
    return struct.pack("<BI", kind, len(body)) + body


def items_answer(*frames: bytes, cut: int = 7) -> Answer:
    """The frames in pieces that keep to no frame's bounds."""
    data = b"".join(frames)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    return 200, {"Content-Type": "application/x-ember-items", "Ember-Call-Id": "fc-3"}, pieces


def read_items(client: _client.Client) -> tuple[list[bytes], BaseException | None]:
    """The same of both styles, which must agree."""

    async def read() -> tuple[list[bytes], BaseException | None]:
        got: list[bytes] = []
        try:
            async for item in client.call_items_async("a", "f", b"x"):
                got.append(item)
        except Exception as error:
            return got, error
        return got, None

    got: list[bytes] = []
    raised: BaseException | None = None
    try:
        for item in client.call_items("a", "f", b"x"):
            got.append(item)
    except Exception as error:
        raised = error
    again, raised_again = asyncio.run(read())
    assert (again, type(raised_again)) == (got, type(raised))
    return got, raised


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_items_come_whole_however_they_are_cut(serve: Serve, cut: int) -> None:
    frames = [item_frame(ITEM, b"one"), item_frame(SILENCE, b""), item_frame(ITEM, b"")]
    frames += [item_frame(ITEM, b"x" * 1000), item_frame(END, b"{}")]
    server, client = serve(lambda _: items_answer(*frames, cut=cut))
    assert read_items(client) == ([b"one", b"", b"x" * 1000], None)
    assert server.asked[0].headers["accept"] == "application/x-ember-items"
    assert server.asked[1].headers["accept"] == "application/x-ember-items"


def test_an_error_after_items_is_raised_as_what_it_is(serve: Serve) -> None:
    error = json.dumps({"error": {"code": "container_crashed", "message": "broke"}}).encode()
    _, client = serve(lambda _: items_answer(item_frame(ITEM, b"1"), item_frame(ERROR, error)))
    got, raised = read_items(client)
    assert got == [b"1"]
    assert isinstance(raised, exception.ContainerCrashedError)


def test_items_that_break_off_are_no_end(serve: Serve) -> None:
    _, client = serve(lambda _: items_answer(item_frame(ITEM, b"1")))
    got, raised = read_items(client)
    assert got == [b"1"]
    assert isinstance(raised, exception.UnavailableError)


def test_an_error_before_the_first_item_is_that_of_any_call(serve: Serve) -> None:
    error = {"error": {"code": "not_found", "message": "no app a"}}
    _, client = serve(lambda _: document(error, 404))
    got, raised = read_items(client)
    assert got == []
    assert isinstance(raised, exception.NotFoundError)


# --- calls that are watched ---

STATUS, PROGRESS, RESULT = 4, 5, 6
WAITS = {"phase": "starting", "ahead": 2, "left_ms": 1500, "reason": "waits"}
RUNS = {"phase": "running", "ahead": 0, "left_ms": None, "reason": "runs"}
STEP = {"step": 1, "total": 2, "metrics": {}, "at_ms": 5}
REPORT = {
    "container_id": "ct-1", "cold": True, "queued_us": 5000, "boot_ms": 2, "load_ms": 1,
    "execute_us": 1000, "total_us": 6000,
}  # fmt: skip


class Seen:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_status(self, status: dict[str, Any]) -> None:
        self.told.append(status)

    def on_progress(self, progress: dict[str, Any]) -> None:
        self.told.append(progress)

    def on_end(self) -> None:
        self.told.append("end")


def watched_answer(*frames: tuple[int, object], cut: int = 7) -> Answer:
    """The frames; what is no bytes becomes JSON."""
    data = b"".join(
        item_frame(kind, body if isinstance(body, bytes) else json.dumps(body).encode())
        for kind, body in frames
    )
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    return 200, {"Content-Type": "application/x-ember-watched", "Ember-Call-Id": "fc-3"}, pieces


def test_who_watches_a_call_is_told_how_it_goes_until_its_result(serve: Serve) -> None:
    server, client = serve(
        lambda _: watched_answer(
            (STATUS, WAITS), (STATUS, RUNS), (PROGRESS, STEP), (RESULT, b"five"), (END, REPORT)
        )
    )
    seen, seen_async = Seen(), Seen()
    reply = client.call("a", "f", b"x", _client.PICKLE, None, seen)
    again = asyncio.run(client.call_async("a", "f", b"x", _client.PICKLE, None, seen_async))
    for got in (reply, again):
        assert got.body == b"five"
        assert got.headers["ember-cold"] == "true"
    assert seen.told == seen_async.told == [WAITS, RUNS, STEP, "end"]
    wanted = "application/x-ember-watched; gives=result"
    assert [asked.headers["accept"] for asked in server.asked] == [wanted] * 2


def test_who_watches_a_generator_is_told_before_its_items_and_between_them(serve: Serve) -> None:
    server, client = serve(
        lambda _: watched_answer(
            (STATUS, WAITS), (STATUS, RUNS), (ITEM, b"1"), (PROGRESS, STEP), (ITEM, b"2"),
            (END, REPORT),
        )
    )  # fmt: skip
    seen, seen_async = Seen(), Seen()
    assert list(client.call_items("a", "f", b"x", None, seen)) == [b"1", b"2"]

    async def read() -> list[bytes]:
        items = client.call_items_async("a", "f", b"x", None, seen_async)
        return [item async for item in items]

    assert asyncio.run(read()) == [b"1", b"2"]
    assert seen.told == seen_async.told == [WAITS, RUNS, STEP, "end"]
    wanted = "application/x-ember-watched; gives=items"
    assert [asked.headers["accept"] for asked in server.asked] == [wanted] * 2


def test_a_watched_generator_without_items_is_one_nonetheless(serve: Serve) -> None:
    _, client = serve(lambda _: watched_answer((STATUS, WAITS), (END, REPORT)))
    seen = Seen()
    assert list(client.call_items("a", "f", b"x", None, seen)) == []
    assert seen.told == [WAITS, "end"]


def test_a_watched_call_that_did_not_wait_or_fails_ends_the_watching(serve: Serve) -> None:
    _, client = serve(lambda _: document(5))
    seen = Seen()
    assert client.call("a", "f", b"x", _client.JSON, None, seen).body == b"5"
    assert seen.told == ["end"]
    error = json.dumps({"error": {"code": "container_crashed", "message": "broke"}}).encode()
    _, client = serve(lambda _: watched_answer((STATUS, WAITS), (ERROR, error)))
    for call in (
        lambda: client.call("a", "f", b"x", _client.JSON, None, seen),
        lambda: asyncio.run(client.call_async("a", "f", b"x", _client.JSON, None, seen)),
        lambda: list(client.call_items("a", "f", b"x", None, seen)),
    ):
        seen.told.clear()
        with pytest.raises(exception.ContainerCrashedError):
            call()
        assert seen.told == [WAITS, "end"]
