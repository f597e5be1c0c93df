"""Webhooks: the end of a call, told to a receiver that may be anything, through a kill of the server."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import ember
import pytest
from conftest import APPS, REPOSITORY, Server, kill, running_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = ("--webhooks-allow", "127.0.0.0/8")


class Receiver:
    """A receiver on loopback: keeps what comes, and answers what it is told to."""

    def __init__(self, answers: list[int] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers or []  # then 204
        self.came: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.came.put((dict(self.headers.items()), body))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self, server: Server) -> dict[str, Any]:
        """The next webhook, verified; its id beside what it tells."""
        headers, body = self.came.get(timeout=60)
        event = ember.webhook.verify(headers, body, secret(server))
        return {**event, "id": headers["webhook-id"]}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def receiving(answers: list[int] | None = None, tls: ssl.SSLContext | None = None):
    receiver = Receiver(answers, tls)
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture(scope="module")
def telling() -> Iterator[Server]:
    with running_server(*ALLOWED) as server:
        server.cli("deploy", APPS / "later.py")
        yield server


def secret(server: Server) -> str:
    return server.json("webhook", "secret")["secret"]


def spawn(server: Server, function: str, url: str, query: str = "", **arguments: object) -> str:
    path = f"/fn/later/{function}?mode=async&webhook={quote(url, safe='')}{query}"
    answer = server.http("POST", path, arguments)
    assert answer.status == 202, answer
    return answer.document["call_id"]


def webhook_of(server: Server, call: str) -> dict[str, Any]:
    found = server.http("GET", f"/api/v1/webhooks/{call.replace('fc-', 'wh-')}")
    return found.document if found.status == 200 else {"state": "none", "tries": 0}


def test_a_receiver_is_told_of_the_result_with_a_signature(telling: Server) -> None:
    with receiving() as receiver:
        call = spawn(telling, "double", receiver.url, number=21)
        event = receiver.next(telling)
    assert event["type"] == "call.succeeded"
    assert event["id"] == call.replace("fc-", "wh-")
    data = event["data"]
    assert (data["call_id"], data["app"], data["function"]) == (call, "later", "double")
    assert (data["state"], data["result"], data["error"]) == ("succeeded", 42, None)
    assert data["url"] == f"{telling.url}/api/v1/calls/{call}/result"
    wait_until("delivered", lambda: webhook_of(telling, call)["state"] == "delivered")
    shown = telling.json("call", "show", call)
    assert shown["state"] == "succeeded"


def test_python_says_who_is_told_by_an_option_of_spawn(
    telling: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBER_URL", telling.url)
    monkeypatch.setenv("EMBER_KEY", telling.key)
    with receiving() as receiver:
        program = (
            "import ember, sys\n"
            "double = ember.Function.from_name('later', 'double')\n"
            "call = double.spawn.with_options(webhook=sys.argv[1], priority=3)(4)\n"
            "print(call.call_id, call.get())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, receiver.url], capture_output=True, text=True,
            env={**telling.environment, "EMBER_URL": telling.url, "EMBER_KEY": telling.key},
        )  # fmt: skip
        assert done.returncode == 0, done
        call, value = done.stdout.split()
        event = receiver.next(telling)
    assert (event["data"]["call_id"], value) == (call, "8")
    assert "result" not in event["data"], "a Python object, to be fetched"


def test_calls_that_containers_make_are_told_of_too(telling: Server) -> None:
    with receiving() as receiver:
        call = telling.result("later", "tells", url=receiver.url)
        assert receiver.next(telling)["data"]["call_id"] == call
    stored = telling.http("GET", f"/api/v1/calls/{call}").document
    assert stored["state"] == "succeeded"


def test_failure_and_cancellation_are_told_too(telling: Server) -> None:
    with receiving() as receiver:
        spawn(telling, "never_works", receiver.url, token="webhook")
        failed = receiver.next(telling)
        assert failed["type"] == "call.failed"
        assert failed["data"]["error"]["code"] == "user_exception"
        call = spawn(telling, "holds_on", receiver.url)
        assert telling.http("POST", f"/api/v1/calls/{call}/cancel").status == 200
        assert receiver.next(telling)["type"] == "call.cancelled"


def test_what_the_receiver_refuses_is_sent_again_with_the_same_id(telling: Server) -> None:
    with receiving([503, 302]) as receiver:
        call = spawn(telling, "double", receiver.url, number=1)
        first = receiver.next(telling)
        wait_until("tried", lambda: webhook_of(telling, call)["tries"] == 1)
        told = webhook_of(telling, call)
        assert (told["state"], told["status"]) == ("waiting", 503)
        assert told["next_try_ms"] > told["last_try_ms"]
        second = receiver.next(telling)
        assert second == first
        wait_until("tried", lambda: webhook_of(telling, call)["tries"] == 2)
        assert "redirects are not followed" in webhook_of(telling, call)["outcome"]
        # The next try is minutes away; a replay does not wait for it.
        assert "is sent again" in telling.cli("webhook", "replay", first["id"]).stderr
        assert receiver.next(telling) == first
        wait_until("delivered", lambda: webhook_of(telling, call)["state"] == "delivered")


def test_a_receiver_that_is_gone_gets_nothing_more(telling: Server) -> None:
    with receiving([410]) as receiver:
        call = spawn(telling, "double", receiver.url, number=1)
        receiver.next(telling)
        wait_until("dead", lambda: webhook_of(telling, call)["state"] == "dead")
    dead = telling.json("webhook", "list", "--state", "dead")["webhooks"]
    assert call.replace("fc-", "wh-") in [webhook["webhook_id"] for webhook in dead]
    text = telling.cli("webhook", "list").stdout
    assert "it answered 410" in text
    assert "call.succeeded" in telling.cli("webhook", "show", call.replace("fc-", "wh-")).stdout


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "http://169.254.169.254/latest/meta-data/", "http://10.1.2.3/",
        "http://[::1]:8080/", "http://[::ffff:127.0.0.1]/", "http://0/", "http://0177.0.0.1/",
        "http://0x7f000001/", "http://2130706433/", "http://[fe80::1%25lo]/", "http://printer.local/",
        "http://me:secret@example.org/", "http://127.0.0.1:22/", "nowhere",
    ],
)  # fmt: skip
def test_a_call_whose_end_may_not_be_told_there_is_refused(telling: Server, url: str) -> None:
    path = f"/fn/later/double?mode=async&webhook={quote(url, safe='')}"
    refused = telling.http("POST", path, {"number": 1})
    assert refused.status == 400, refused
    assert "webhook: " in refused.message


def test_nothing_private_is_connected_to_unless_it_is_allowed(server: Server) -> None:
    """By a name of this machine's own: nothing can be said against it when the call is made."""
    server.cli("deploy", APPS / "later.py")
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        call = spawn(server, "double", url, number=1)
        wait_until("tried", lambda: webhook_of(server, call)["tries"] == 1)
        assert "a loopback address" in webhook_of(server, call)["outcome"]
        assert receiver.came.empty()
        refused = server.http("POST", f"/fn/later/double?mode=async&webhook={receiver.url}", {})
        assert refused.status == 400
        assert "--webhooks-allow" in refused.message


def test_the_secret_is_replaced_while_both_sign(telling: Server) -> None:
    old = secret(telling)
    assert telling.cli("webhook", "secret").stdout.strip() == old
    new = telling.json("webhook", "secret", "--rotate", "--overlap", "600")
    assert new["secret"] != old
    with receiving() as receiver:
        spawn(telling, "double", receiver.url, number=1)
        headers, body = receiver.came.get(timeout=60)
    assert len(headers["webhook-signature"].split()) == 2
    for one in (old, new["secret"]):
        assert ember.webhook.verify(headers, body, one)
    logs = "".join((telling.data / f"{role}.log").read_text() for role in ("serve", "node"))
    assert old[6:] not in logs


def test_a_killed_server_tells_what_it_owes_with_the_same_id() -> None:
    with running_server(*ALLOWED) as server, receiving([500]) as receiver:
        server.cli("deploy", APPS / "later.py")
        call = spawn(server, "double", receiver.url, number=1)
        first = receiver.next(server)
        wait_until("tried", lambda: webhook_of(server, call)["tries"] == 1)
        later = spawn(server, "double", receiver.url, number=2, seconds=2)
        kill(server, "serve")
        server.up(*ALLOWED)
        again = sorted((receiver.next(server) for _ in range(2)), key=lambda event: event["id"])
        assert again[0] == first
        assert again[1]["data"]["call_id"] == later
        for one in (call, later):
            wait_until("delivered", lambda one=one: webhook_of(server, one)["state"] == "delivered")


@pytest.fixture
def certificate() -> Iterator[Path]:
    """A certificate for 127.0.0.1 that its own key has signed, beside that key."""
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="ember-tls-"))
    folder.chmod(0o755)  # serve reads it without privileges
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=receiver", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "certificate"],
        check=True, capture_output=True,
    )  # fmt: skip
    yield folder / "certificate"
    shutil.rmtree(folder)


def test_tls_is_spoken_with_whom_the_machine_trusts_alone(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.parent / "key")

    def make(data: Path) -> Server:
        server = Server(data)
        server.environment["SSL_CERT_FILE"] = str(certificate)
        return server

    with running_server(*ALLOWED, make=make) as server, receiving(tls=tls) as receiver:
        server.cli("deploy", APPS / "later.py")
        spawn(server, "double", receiver.url, number=5)
        assert receiver.next(server)["data"]["result"] == 10
        named = receiver.url.replace("127.0.0.1", "localhost")
        call = spawn(server, "double", named, number=5)
        wait_until("tried", lambda: webhook_of(server, call)["tries"] == 1)
        told = webhook_of(server, call)["outcome"]
        assert "certificate verify failed" in told, "it is for another name"


def test_the_example_receiver_takes_what_is_signed_and_prints_it_once(telling: Server) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "python"),
        "WEBHOOK_SECRET": secret(telling),
    }
    example = subprocess.Popen(
        [sys.executable, REPOSITORY / "examples" / "webhook_receiver.py", "0"],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert example.stderr and example.stdout
        port = example.stderr.readline().split()[-1]
        url = f"http://127.0.0.1:{port}/"
        call = spawn(telling, "double", url, number=8)
        webhook = call.replace("fc-", "wh-")
        assert example.stdout.readline().split() == [webhook, "call.succeeded", call, "16"]
        wait_until("delivered", lambda: webhook_of(telling, call)["state"] == "delivered")
        telling.cli("webhook", "replay", webhook)
        wait_until("taken again", lambda: webhook_of(telling, call)["tries"] == 2)
        assert webhook_of(telling, call)["state"] == "delivered"
        other = spawn(telling, "double", url, number=9)
        assert example.stdout.readline().split()[2] == other, "the replay was known already"
        forged = subprocess.run(
            [sys.executable, "-c",
             "import sys, urllib.request as r\n"
             "try: r.urlopen(r.Request(sys.argv[1], b'{}', {'webhook-id': 'x'}))\n"
             "except r.HTTPError as error: print(error.code)", url],
            capture_output=True, text=True,
        )  # fmt: skip
        assert forged.stdout.strip() == "400"
    finally:
        example.kill()
        example.communicate()


def test_the_higher_priority_goes_first_through_a_kill(telling: Server) -> None:
    first = spawn_plain(telling, seconds=2)
    wait_until("running", lambda: state_of(telling, first) == "running")
    calls = {p: spawn_plain(telling, f"&priority={p}", number=p, seconds=0.3) for p in (-10, 0, 10)}
    shown = {p: telling.http("GET", f"/api/v1/calls/{calls[p]}").document for p in calls}
    assert all(one["state"] == "waiting" for one in shown.values())
    kill(telling, "serve")
    telling.up(*ALLOWED)
    waited_ms = {}
    for priority, call in calls.items():
        answer = telling.http("GET", f"/api/v1/calls/{call}/result?wait_ms=60000")
        assert (answer.status, answer.document) == (200, 2 * priority)
        timing = re.search(r"queue;dur=([\d.]+)", answer.headers["server-timing"])
        assert timing
        waited_ms[priority] = float(timing[1])
    assert waited_ms[10] < waited_ms[0] < waited_ms[-10]


def spawn_plain(server: Server, query: str = "", **arguments: object) -> str:
    arguments = {"number": 0, **arguments}
    answer = server.http("POST", f"/fn/later/double?mode=async{query}", arguments)
    assert answer.status == 202, answer
    return answer.document["call_id"]


def state_of(server: Server, call: str) -> str:
    return server.http("GET", f"/api/v1/calls/{call}").document["state"]
