"""Web endpoints in the runner: a request's head and pieces in, an answer's out."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import Got, RunnerProcess, wait_for_file

from ember._websocket import masked
from ember.runner import _frames as frames
from ember.runner._websocket_frames import CLOSE, PING, PONG, TEXT, Broken, Reader, frame

MODULE = """
import asyncio, pathlib, subprocess, sys, traceback

async def body_of(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    return body

async def answer(send, body, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

@app.function()
@ember.asgi_app()
def asgi():
    async def serve(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["notes"] = ["started"]
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("stopped", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await sockets(scope, receive, send)
        elif scope["path"] == "/scope":
            shown = {k: v for k, v in scope.items() if k not in ("asgi", "state")}
            await answer(send, repr((shown, scope["state"])).encode())
        elif scope["path"] == "/echo":
            await answer(send, await body_of(receive), headers=[(b"x-a", b"1"), (b"x-a", b"2")])
        elif scope["path"] == "/size":
            size = 0
            while (message := await receive())["more_body"]:
                size += len(message["body"])
            await answer(send, str(size).encode())
        elif scope["path"] == "/idle":
            pathlib.Path(scope["query_string"].decode()).touch()
            try:
                await receive()
                await receive()
            except asyncio.CancelledError:
                pathlib.Path(scope["query_string"].decode() + ".left").touch()
                raise
        elif scope["path"] == "/large":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for i in range(100):
                body = bytes(100_000)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                pathlib.Path(scope["query_string"].decode()).write_text(str(i))
            await send({"type": "http.response.body"})
        elif scope["path"] == "/raises":
            raise ValueError("a secret reason")
        elif scope["path"] == "/late":
            await answer(send, b"whole")
            raise ValueError("after all")
        elif scope["path"] == "/behind":
            await answer(send, b"done")
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            while not pathlib.Path(scope["query_string"].decode()).exists():
                await asyncio.sleep(0.005)
        elif scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
    return serve

async def sockets(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/refuse":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("left", message["code"], message["reason"], flush=True)
            return
        if message.get("text") == "end":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
        await send({"type": "websocket.send", **{k: v for k, v in message.items() if k != "type"}})

@app.function()
@ember.asgi_app()
def without_lifespan():
    async def serve(scope, receive, send):
        assert scope["type"] == "http"
        await answer(send, b"fine")
    return serve

@app.function()
@ember.asgi_app()
def never_starts():
    async def serve(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
    return serve

@app.function()
@ember.asgi_app()
def no_app():
    return 5

@app.function()
@ember.fastapi_endpoint()
def lacks_fastapi(x: int):
    return x

@app.function()
@ember.wsgi_app()
def wsgi():
    def serve(environ, start):
        path = environ["PATH_INFO"]
        if path == "/echo":
            start("201 Created", [("Content-Type", "text/plain"), ("X-Who", environ["HTTP_X_WHO"])])
            return iter([environ["wsgi.input"].read(), b"", b"!"])
        if path == "/lines":
            start("200 OK", [])
            return [str(list(environ["wsgi.input"])).encode()]
        if path == "/wait":
            pathlib.Path(environ["QUERY_STRING"]).touch()
            try:
                environ["wsgi.input"].read()
            except BaseException:
                pathlib.Path(environ["QUERY_STRING"] + ".left").touch()
                raise
        if path == "/nothing":
            return []
        start("200 OK", [])
        return [repr(sorted(k for k in environ if not k.startswith("HTTP_"))).encode()]
    return serve

@app.function()
@ember.web_server(PORT, startup_timeout=20)
def program():
    subprocess.Popen([sys.executable, "-c", PROGRAM])

@app.function()
@ember.web_server(PORT, startup_timeout=0.2)
def silent():
    pass

@app.cls()
class Model:
    @ember.enter()
    def load(self):
        self.weights = b"weights"

    @ember.method()
    def plain(self, x: int):
        return x + 1

    @ember.asgi_app()
    def web(self):
        async def serve(scope, receive, send):
            await answer(send, self.weights)
        return serve

    @ember.exit()
    def end(self):
        print("ended", flush=True)

PROGRAM = '''
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/gone":
            self.connection.close()
            return
        self.send_response_only(100)
        self.end_headers()
        self.send_response_only(200)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\\\\r\\\\nhello\\\\r\\\\n0\\\\r\\\\n\\\\r\\\\n")
            return
        body = b"%s %s" % (self.path.encode(), self.headers["Connection"].encode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *args):
        pass

http.server.HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
'''.replace("PORT", str(PORT))
"""
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\n"
    "Sec-WebSocket-Protocol: chat, other\r\n"
)


class Web:
    """A runner with an endpoint, and the server's end of its requests."""

    def __init__(self, runner: RunnerProcess) -> None:
        self.runner = runner

    def start(self, function: str, **settings: Any) -> Web:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {"is_async": True, "max_inputs": 10, **settings}
        self.runner.start(f"PORT = {port}\n" + MODULE, function, **settings)
        return self

    def request(
        self, line: str, fields: str = "", *pieces: bytes, stream: int = 1, method: int = 0
    ) -> None:
        head = f"{line} HTTP/1.1\r\nHost: a.localhost:7\r\nX-Forwarded-For: 9.9.9.9, 1.2.3.4\r\n"
        body = (7).to_bytes(8, "little") + f"{head}{fields}\r\n".encode()
        format = frames.BYTES | method << frames.METHOD_SHIFT
        self.runner.send(frames.frame(frames.INPUT, format, 1, stream, body))
        for piece in pieces:
            self.send(piece, stream=stream)

    def send(self, piece: bytes, *, stream: int = 1) -> None:
        self.runner.send(frames.frame(frames.PIECE, 0, 1, stream, piece))

    def grant(self, got: Got) -> None:
        credit = frames.CREDIT_BODY.pack(1, len(got.body))
        self.runner.send(frames.frame(frames.CREDIT, 0, 1, got.stream, credit))

    def head(self) -> tuple[int, list[str]]:
        got = self.runner.expect(frames.CHUNK, frames.ERROR)
        assert got.kind == frames.CHUNK, got.body
        status, *fields = got.body.decode().split("\r\n")
        return int(status), fields[:-1]

    def body(self) -> bytes:
        """All that follows, while credit is given."""
        data = b""
        while (got := self.runner.expect(frames.CHUNK, frames.RESULT)).kind == frames.CHUNK:
            data += got.body
            self.grant(got)
        return data

    def answer(self) -> tuple[int, list[str], bytes]:
        status, fields = self.head()
        return status, fields, self.body()


@pytest.fixture
def web(runner: RunnerProcess) -> Web:
    return Web(runner)


@pytest.fixture
def asgi(web: Web) -> Web:
    web.start("asgi").runner.ready()
    return web


# --- ASGI ---


def test_an_app_sees_the_request_as_it_was(asgi: Web) -> None:
    asgi.request("GET /scope?a=%20b", "X-Two: 1\r\nX-Two: 2\r\nX-Forwarded-Proto: https\r\n")
    status, fields, body = asgi.answer()
    shown, state = eval(body.decode())
    assert (status, fields) == (200, [])
    assert shown["path"] == "/scope"
    assert shown["query_string"] == b"a=%20b"
    assert shown["root_path"] == ""
    assert shown["scheme"] == "https"
    assert shown["client"] == ("1.2.3.4", 0)
    assert shown["server"] == ("a.localhost", 7)
    assert [field for field in shown["headers"] if field[0] == b"x-two"] == [
        (b"x-two", b"1"),
        (b"x-two", b"2"),
    ]
    assert state == {"notes": ["started"]}


def test_a_body_comes_in_pieces_and_goes_back_with_its_fields(asgi: Web) -> None:
    asgi.request("POST /echo", "Transfer-Encoding: chunked\r\n", b"one", b"two", b"")
    assert asgi.answer() == (200, ["x-a: 1", "x-a: 2"], b"onetwo")


def test_pieces_that_come_before_anybody_wants_them_are_kept(asgi: Web) -> None:
    for stream in (1, 2):
        asgi.request("POST /echo", "Content-Length: 1\r\n", b"%d" % stream, b"", stream=stream)
    answers = set()
    for _ in range(2):
        got = asgi.runner.expect(frames.RESULT)
        answers.add(got.stream)
    bodies = [got.body for got in asgi.runner.set_aside if got.kind == frames.CHUNK]
    assert answers == {1, 2}
    assert b"1" in bodies
    assert b"2" in bodies


def test_the_server_is_told_what_has_been_taken_of_an_upload(asgi: Web) -> None:
    asgi.request("POST /size", "Content-Length: 655360\r\n")
    taken = 0
    for _ in range(10):
        asgi.send(bytes(64 << 10))
        taken += frames.CREDIT_BODY.unpack(asgi.runner.expect(frames.ROOM).body)[1]
    asgi.send(b"")
    assert taken == 640 << 10
    assert asgi.answer()[2] == b"655360"


def test_an_answer_waits_for_who_reads_it(asgi: Web, tmp_path: Path) -> None:
    note = tmp_path / "made"
    asgi.request(f"GET /large?{note}")
    first = [asgi.runner.expect(frames.CHUNK) for _ in range(5)]
    wait_for_file(note)
    assert int(note.read_text()) <= 3  # the window is 256 KiB
    for got in first:
        asgi.grant(got)
    assert len(asgi.body()) + sum(len(got.body) for got in first[1:]) == 10_000_000


def test_a_client_that_leaves_is_raised_where_the_app_waits(asgi: Web, tmp_path: Path) -> None:
    note = tmp_path / "note"
    asgi.request(f"GET /idle?{note}")
    wait_for_file(note)
    asgi.runner.cancel(1)
    assert asgi.runner.answer(1).json["kind"] == "cancelled"
    assert Path(f"{note}.left").exists()


def test_what_an_app_raises_is_in_the_logs(asgi: Web) -> None:
    asgi.request("GET /raises")
    assert asgi.runner.answer(1).kind == frames.ERROR
    assert "ValueError: a secret reason" in "".join(text for _, _, text in asgi.runner.logs())


def test_an_answer_that_is_whole_counts_though_the_app_raises_after_it(asgi: Web) -> None:
    asgi.request("GET /late")
    assert asgi.answer() == (200, [], b"whole")


@pytest.mark.parametrize("path", ["/half", "/nothing"])
def test_an_app_that_does_not_answer_has_failed(asgi: Web, path: str) -> None:
    asgi.request(f"GET {path}")
    assert "before its answer was whole" in asgi.runner.answer(1).json["message"]


def test_an_answer_ends_before_what_the_app_does_behind_it(asgi: Web, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    asgi.request(f"GET /behind?{gate}")
    assert asgi.head() == (200, [])
    assert asgi.runner.expect(frames.CHUNK).body == b"done"
    assert asgi.runner.expect(frames.CHUNK).body == b""
    gate.touch()
    assert asgi.runner.answer(1).kind == frames.RESULT


def test_an_app_without_lifespan_serves(web: Web) -> None:
    web.start("without_lifespan").runner.ready()
    web.request("GET /")
    assert web.answer() == (200, [], b"fine")


def test_the_lifespan_ends_with_the_container(asgi: Web) -> None:
    asgi.runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert asgi.runner.expect(frames.LOG).log == (1, "stopped\n")
    assert asgi.runner.wait() == 0


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("never_starts", "the app's startup failed: no database"),
        ("no_app", "no_app is to return its ASGI app, not int"),
        ("silent", "nothing listens on port"),
    ],
)
def test_what_does_not_start_says_why(web: Web, function: str, why: str) -> None:
    web.start(function)
    assert why in web.runner.expect(frames.FAILED).json["message"]


def test_an_image_without_fastapi_is_told_what_to_add(web: Web, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fastapi.py").write_text("raise ImportError('none here')")
    web.start("lacks_fastapi")
    assert '.pip_install("fastapi")' in web.runner.expect(frames.FAILED).json["message"]


# --- WebSockets ---


def client_frame(kind: int, payload: bytes, *, first: int = 0x80) -> bytes:
    mask = b"\1\2\3\4"
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return bytes([first | kind]) + length + mask + masked(payload, mask)


def test_a_websocket_speaks_both_ways(asgi: Web) -> None:
    asgi.request("GET /chat", HANDSHAKE)
    status, fields = asgi.head()
    assert status == 101
    assert fields == [
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-protocol: chat",
    ]
    asgi.send(client_frame(TEXT, b"hel", first=0) + client_frame(PING, b"?"))
    assert asgi.runner.expect(frames.CHUNK).body == frame(PONG, b"?")
    asgi.send(client_frame(0, "lö".encode()))
    assert asgi.runner.expect(frames.CHUNK).body == frame(TEXT, "hellö".encode())
    large = bytes(range(250)) * 4
    asgi.send(client_frame(2, large)[:100])
    asgi.send(client_frame(2, large)[100:])
    assert asgi.runner.expect(frames.CHUNK).body == frame(2, large)
    asgi.send(client_frame(TEXT, b"end"))
    assert asgi.body() == frame(CLOSE, (4001).to_bytes(2, "big") + b"as asked")


@pytest.mark.parametrize(
    ("sent", "told", "answer"),
    [
        (client_frame(CLOSE, b"\x03\xe8bye"), "left 1000 bye\n", frame(CLOSE, b"\x03\xe8")),
        (frame(TEXT, b"bare"), "left 1002", frame(CLOSE, b"\x03\xea")),
        (client_frame(TEXT, b"\xff"), "left 1007", frame(CLOSE, b"\x03\xef")),
        (b"", "left 1006 \n", b""),
    ],
)
def test_an_app_hears_how_a_websocket_ended(
    asgi: Web, sent: bytes, told: str, answer: bytes
) -> None:
    asgi.request("GET /chat", HANDSHAKE)
    asgi.head()
    asgi.send(sent)
    assert asgi.body() == answer
    assert told in "".join(text for _, _, text in asgi.runner.logs())


def test_a_websocket_that_is_refused_is_an_answer(asgi: Web) -> None:
    asgi.request("GET /refuse", HANDSHAKE)
    assert asgi.answer() == (403, ["content-length: 0"], b"")


def test_frames_are_read_however_they_are_cut() -> None:
    sent = client_frame(TEXT, b"a" * 200) + client_frame(PING, b"") + client_frame(2, b"z")
    for size in (1, 2, 7, 300):
        reader, found = Reader(), []
        for begin in range(0, len(sent), size):
            reader.feed(sent[begin : begin + size])
            while (one := reader.next()) is not None:
                found.append(one)
        assert found == [(TEXT, b"a" * 200), (PING, b""), (2, b"z")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (client_frame(0, b"x"), 1002),  # the rest of nothing
        (client_frame(TEXT, b"x", first=0) + client_frame(TEXT, b"y"), 1002),
        (client_frame(3, b""), 1002),
        (client_frame(PING, b"", first=0), 1002),
        (client_frame(TEXT, b"", first=0xC0), 1002),
        (b"\x82\xff" + (17 << 20).to_bytes(8, "big"), 1009),
    ],
)
def test_a_broken_rule_has_its_code(sent: bytes, code: int) -> None:
    reader = Reader()
    reader.feed(sent)
    with pytest.raises(Broken) as broken:
        while reader.next() is not None:
            pass
    assert broken.value.code == code


# --- WSGI ---


@pytest.fixture
def wsgi(web: Web) -> Web:
    web.start("wsgi").runner.ready()
    return web


def test_a_wsgi_app_reads_and_answers(wsgi: Web) -> None:
    wsgi.request("POST /echo", "X-Who: ö\r\nContent-Length: 6\r\n", b"one", b"two", b"")
    status, fields, body = wsgi.answer()
    assert (status, body) == (201, b"onetwo!")
    assert fields[0] == "Content-Type: text/plain"


def test_a_wsgi_body_can_be_read_by_lines(wsgi: Web) -> None:
    wsgi.request("POST /lines", "Content-Length: 8\r\n", b"a\nb", b"b\nccc", b"")
    assert wsgi.answer()[2] == b"[b'a\\n', b'bb\\n', b'ccc']"


def test_a_wsgi_app_whose_client_leaves_hears_of_it(wsgi: Web, tmp_path: Path) -> None:
    note = tmp_path / "note"
    wsgi.request(f"POST /wait?{note}", "Content-Length: 8\r\n")
    wait_for_file(note)
    wsgi.runner.cancel(1)
    assert wsgi.runner.answer(1).json["kind"] == "cancelled"
    assert Path(f"{note}.left").exists()


def test_a_wsgi_app_that_does_not_start_its_answer_has_failed(wsgi: Web) -> None:
    wsgi.request("GET /nothing")
    assert "never called start_response" in wsgi.runner.answer(1).json["message"]


# --- programs ---


@pytest.fixture
def program(web: Web) -> Web:
    web.start("program").runner.ready()
    return web


def test_a_program_answers_whichever_way_its_body_ends(program: Web) -> None:
    program.request("GET /path?q")
    assert program.answer() == (200, ["Content-Length: 13"], b"/path?q close")
    program.request("GET /chunks")
    assert program.answer()[2] == b"hello"


def test_a_program_gets_a_body_as_it_came(program: Web) -> None:
    program.request("POST /", "Content-Length: 6\r\n", b"abc", b"def", b"")
    assert program.answer()[2] == b"fedcba"
    program.request("POST /", "Transfer-Encoding: chunked\r\n", b"abc", b"def", b"")
    assert program.answer()[2] == b"fedcba"


def test_a_program_that_hangs_up_has_failed(program: Web) -> None:
    program.request("GET /gone")
    assert "gave no answer" in program.runner.answer(1).json["message"]


# --- classes ---


def test_a_class_serves_what_it_has_loaded_beside_its_methods(web: Web) -> None:
    web.start("Model", methods=["plain", "web"], class_arguments={}).runner.ready()
    web.request("GET /", method=1)
    assert web.answer() == (200, [], b"weights")
    assert web.runner.call({"x": 4}).json == 5
    web.runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert web.runner.expect(frames.LOG).log == (1, "ended\n")
