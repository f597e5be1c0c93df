"""Web endpoints: real clients, through the second port, to apps in containers."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import APPS, CALL_TIMEOUT_S, REPOSITORY, Server, wait_until
from ember import _client, _config, _websocket
from ember.exception import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOAD_BYTES = 200 << 20
PIECE = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def web(server: Server) -> Iterator[Server]:
    """The server with the app of `apps/web.py`, and this process's SDK speaking to it."""
    server.deploy("web.py")
    before = _client._shared
    _client._shared = _client.Client(_config.Config(server.url, server.key))
    yield server
    _client._shared = before
    server.cli("app", "stop", "web")


def place(server: Server) -> str:
    """Where web endpoints are: HOST:PORT."""
    return "127.0.0.1:" + server.json("status")["web_url"].rpartition(":")[2]


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(place(server), timeout=CALL_TIMEOUT_S)


def ask(
    server: Server, label: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """An answer and its body; a label without a dot is one of localhost's."""
    host = label if "." in label else f"{label}.localhost"
    fields = {"Host": host, **{name.replace("_", "-"): headers[name] for name in headers}}
    with contextlib.closing(connect(server)) as connection:
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer, answer.read()


class Talk:
    """A WebSocket to an endpoint."""

    def __init__(self, server: Server, label: str, path: str) -> None:
        host, _, port = place(server).partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=CALL_TIMEOUT_S)
        key = _websocket.new_key()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {label}.localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            .encode()
        )  # fmt: skip
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        assert _websocket.accept_of(key).encode() in head
        self.messages = _websocket.WebSocket(self.socket, b"")

    def hear(self) -> tuple[int, bytes]:
        while not (found := self.messages.receive()):
            pass
        return found[0]


def notes(server: Server) -> tuple[list[str], list[str]]:
    return eval(ask(server, "web-site", "GET", "/notes")[1].decode())


def peak_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", file.read())[0]) << 10


def test_a_browser_s_first_request_starts_an_app_from_zero(web: Server) -> None:
    answer, body = ask(
        web, "web-site", "GET", "/", Accept="text/html,*/*;q=0.8", Accept_Encoding="gzip, br"
    )
    assert (answer.status, body) == (200, b"hello")
    call = web.json("call", "show", answer.headers["Ember-Call-Id"])
    assert (call["app"], call["function"], call["cold"]) == ("web", "site", True)


def test_an_app_sees_who_asked_for_what(web: Server) -> None:
    _, body = ask(
        web, "web-site", "GET", "/headers", X_Forwarded_For="8.8.8.8", Authorization="own"
    )
    headers = dict(eval(body.decode()))
    assert headers[b"x-forwarded-for"] == b"8.8.8.8, 127.0.0.1"
    assert headers[b"x-forwarded-host"] == b"web-site.localhost"
    assert headers[b"authorization"] == b"own"


def test_200_megabytes_pass_without_being_held(web: Server) -> None:
    ask(web, "web-site", "GET", "/")  # its container is there
    before = peak_bytes(web.pid("serve"))
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for _ in range(UPLOAD_BYTES // len(PIECE)):
            digest.update(PIECE)
            yield PIECE

    with contextlib.closing(connect(web)) as connection:
        fields = {"Host": "web-site.localhost", "Transfer-Encoding": "chunked"}
        connection.request("POST", "/upload", pieces(), fields, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.read().decode() == digest.hexdigest()
    _, body = ask(web, "web-site", "GET", "/large")
    assert len(body) == 64 << 20
    assert peak_bytes(web.pid("serve")) - before < 32 << 20


def test_a_client_that_leaves_ends_what_it_asked_for(web: Server) -> None:
    with contextlib.closing(connect(web)) as connection:
        connection.request("GET", "/wait?gone", headers={"Host": "web-site.localhost"})
        wait_until("the app waits", lambda: "gone" in notes(web)[0])
    wait_until("the app has heard of it", lambda: "gone" in notes(web)[1])


def test_what_an_app_does_behind_its_answer_is_not_the_client_s(web: Server) -> None:
    assert ask(web, "web-site", "GET", "/behind")[1] == b"done"  # and the client has gone
    assert "behind" not in notes(web)[1]
    ask(web, "web-site", "GET", "/open")
    wait_until("it has done the rest", lambda: "behind" in notes(web)[1])


def test_a_key_is_asked_for_unless_the_endpoint_is_open(web: Server) -> None:
    answer, body = ask(web, "web-desk", "GET", "/")
    assert answer.status == 401
    assert json.loads(body)["error"]["code"] == "unauthenticated"
    answer, body = ask(web, "web-desk", "GET", "/headers", Authorization=f"Bearer {web.key}")
    assert answer.status == 200
    assert web.key.encode() not in body


@pytest.mark.parametrize(
    ("label", "path", "status"),
    [("web-desk", "/wait?long", 504), ("web-site", "/raises", 500), ("web-desk", "/dies", 502)],
)
def test_what_fails_has_its_status_and_no_more(
    web: Server, label: str, path: str, status: int
) -> None:
    answer, body = ask(web, label, "GET", path, Authorization=f"Bearer {web.key}")
    assert answer.status == status
    assert b"reason" not in body
    if path == "/raises":
        wait_until("the log says why", lambda: "a reason for the logs alone" in logs(web))


def logs(server: Server) -> str:
    return server.cli("logs", "web").stdout


def test_an_answer_that_breaks_ends_its_connection(web: Server) -> None:
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(web, "web-desk", "GET", "/dies-late", Authorization=f"Bearer {web.key}")
    assert broken.value.partial in (b"", b"half")


def test_who_finds_the_queue_full_is_told_to_come_back(web: Server) -> None:
    def inputs() -> tuple[int, int]:
        functions = web.http("GET", "/api/v1/apps/web").document["functions"]
        (narrow,) = (one for one in functions if one["name"] == "narrow")
        return narrow["running"], narrow["waiting"]

    with contextlib.ExitStack() as stack:
        for expected in ((1, 0), (1, 1)):
            connection = stack.enter_context(contextlib.closing(connect(web)))
            connection.request("GET", "/wait?full", headers={"Host": "web-narrow.localhost"})
            wait_until("it runs, or waits", lambda wanted=expected: inputs() == wanted)
        answer, _ = ask(web, "web-narrow", "GET", "/")
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
    wait_until("both have gone", lambda: inputs() == (0, 0))


def test_nobody_is_at_another_name(web: Server) -> None:
    answer, body = ask(web, "web-nothing", "GET", "/")
    assert answer.status == 404
    assert "ember app list" in json.loads(body)["error"]["message"]


def test_wsgi_apps_and_programs_serve(web: Server) -> None:
    assert ask(web, "web-old", "PUT", "/", b"body")[1] == b"PUT body"
    answer, body = ask(web, "web-files", "GET", "/page.html")
    assert body == b"<p>a page</p>"
    assert answer.headers["Server"].startswith("SimpleHTTP")
    assert ask(web, "web-files", "HEAD", "/page.html")[0].headers["Content-Length"] == "13"
    assert ask(web, "web-files", "GET", "/none")[0].status == 404


def test_a_class_serves_what_it_has_loaded(web: Server) -> None:
    assert ask(web, "web-model-page", "GET", "/")[1] == b"loaded"
    assert web.result("web", "Model.size") == 6


def test_a_websocket_speaks_both_ways(web: Server) -> None:
    talk = Talk(web, "web-site", "/chat")
    for kind, message in ((_websocket.TEXT, "wörter".encode()), (_websocket.BYTES, PIECE * 4)):
        talk.messages.send(kind, message)
        assert talk.hear() == (kind, message)
    talk.messages.close()
    wait_until("the app has heard of the end", lambda: "chat" in notes(web)[1])


def test_urls_are_told_where_apps_are(web: Server) -> None:
    site = ember.Function.from_name("web", "site")
    url = site.get_web_url()
    assert url == web.json("status")["web_url"].replace("LABEL", "web-site")
    assert url in web.cli("function", "list", "web").stdout
    assert url in web.cli("app", "list").stdout
    told = web.cli("deploy", APPS / "web.py").stderr
    assert f"site  {url} (open to anybody)" in told
    assert site.get_web_url() == url, "the same in each version"
    page = ember.Cls.from_name("web", "Model")().page.get_web_url()
    assert page == web.json("status")["web_url"].replace("LABEL", "web-model-page")
    with pytest.raises(InvalidArgumentError, match="no web endpoint"):
        ember.Function.from_name("web", "Model.size").get_web_url()


def test_an_endpoint_is_not_called_otherwise(web: Server) -> None:
    answer = web.call("web", "site")
    assert answer.status == 400
    assert "is a web endpoint" in answer.message
    assert "is a web endpoint" in web.http("POST", "/fn/web/site?mode=async", {}).message


def test_a_label_is_one_app_s(web: Server, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import ember\napp = ember.App('other')\n"
        "@app.function()\n@ember.wsgi_app(label='web-old')\ndef f():\n    return print\n"
    )
    told = web.cli("deploy", other, status=2).stderr
    assert 'the web label "web-old" of f is the app web\'s' in " ".join(told.split())


def test_a_deploy_drops_no_request(web: Server) -> None:
    ended = threading.Event()
    failures: list[Any] = []

    def keep_asking() -> None:
        while not ended.is_set():
            answer, body = ask(web, "web-old", "POST", "/", b"x")
            if (answer.status, body) != (200, b"POST x"):
                failures.append((answer.status, body))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        web.deploy("web.py")
    finally:
        ended.set()
        asking.join()
    assert failures == []


def test_goes_down_and_comes_back_with_its_endpoints(own_server: Server) -> None:
    own_server.deploy("web.py")
    ask(own_server, "web-old", "GET", "/")
    talk = Talk(own_server, "web-site", "/chat")
    talk.messages.send(_websocket.TEXT, b"hello")
    assert talk.hear() == (_websocket.TEXT, b"hello")
    own_server.cli("down")  # though a conversation goes on
    talk.messages.close()
    own_server.up("--web-domain", "apps.example.com")
    url = own_server.json("status")["web_url"]
    assert re.fullmatch(r"http://LABEL\.apps\.example\.com:\d+", url)
    assert ask(own_server, "web-old.apps.example.com", "GET", "/")[1] == b"GET "
    assert ask(own_server, "web-old", "GET", "/")[1] == b"GET "


@pytest.fixture
def fastapi(server: Server) -> Iterator[Server]:
    """The example, where the package index can be reached."""
    server.cli("deploy", REPOSITORY / "examples" / "fastapi_app.py")
    yield server
    server.cli("app", "stop", "fastapi-app")


def test_the_example_is_a_whole_fastapi_app(fastapi: Server) -> None:
    _, body = ask(fastapi, "fastapi-app", "GET", "/items/3?q=x")
    assert json.loads(body) == {"item": 3, "q": "x"}
    assert ask(fastapi, "fastapi-app", "GET", "/items/none")[0].status == 422
    assert b"An app on Ember" in ask(fastapi, "fastapi-app", "GET", "/docs")[1]
    assert ask(fastapi, "fastapi-app", "GET", "/words?text=a+b")[1] == b"a\nb\n"
    data = os.urandom(3 << 20)
    _, body = ask(fastapi, "fastapi-app", "POST", "/upload", data)
    assert json.loads(body) == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    talk = Talk(fastapi, "fastapi-app", "/chat")
    talk.messages.send(_websocket.TEXT, b"hello")
    assert talk.hear() == (_websocket.TEXT, b"you said: hello")
    talk.messages.close()


def test_one_function_is_served_as_fastapi_reads_it(fastapi: Server, tmp_path: Path) -> None:
    source = tmp_path / "single.py"
    source.write_text(
        "import ember\n"
        "image = ember.Image.host().uv_pip_install('fastapi==0.165.0')\n"
        "app = ember.App('single', image=image)\n"
        "@app.function()\n"
        "@ember.fastapi_endpoint(method='POST', docs=True, unauthenticated=True)\n"
        "def double(x: int, times: int = 2):\n"
        "    return {'x': x * times}\n"
        "@app.cls()\n"
        "class Scale:\n"
        "    @ember.enter()\n"
        "    def load(self):\n"
        "        self.by = 10\n"
        "    @ember.fastapi_endpoint(unauthenticated=True)\n"
        "    async def up(self, x: int):\n"
        "        return x * self.by\n"
    )
    fastapi.cli("deploy", source)
    assert ask(fastapi, "single-double", "POST", "/?x=4")[1] == b'{"x":8}'
    assert ask(fastapi, "single-double", "GET", "/?x=4")[0].status == 405
    assert ask(fastapi, "single-double", "GET", "/docs")[0].status == 200
    assert ask(fastapi, "single-scale-up", "GET", "/?x=4")[1] == b"40"
    assert ask(fastapi, "single-scale-up", "GET", "/docs")[0].status == 404
    fastapi.cli("app", "stop", "single")
