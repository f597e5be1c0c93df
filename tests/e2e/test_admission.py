"""Queues with limits, shared fairly between callers, and the keys that tell callers apart."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import selectors
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from conftest import Answer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

QUEUE_LIMIT = 10_000  # the default
MANY_CALLS = 15_000  # more than the server holds of one caller
DESCRIPTORS = MANY_CALLS + 3_000  # for this process and, less its own, for the server
MOST_BYTES_PER_CALL = 32 << 10  # of the server's memory, connection included


class Caller(NamedTuple):
    name: str
    key: str


class Reply(NamedTuple):
    caller: str
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < DESCRIPTORS:
        pytest.skip(f"this machine lets a process open {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def make_caller(server: Server, name: str) -> Caller:
    return Caller(name, server.json("key", "create", name)["key"])


class Herd:
    """Calls of one function that are all under way at once, each on a connection of its own."""

    def __init__(self, server: Server, path: str) -> None:
        self._address = urlsplit(server.url)
        self._path = path
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, tuple[str, bytearray]] = {}

    def __enter__(self) -> Herd:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()
        self._selector.close()

    def call(self, caller: Caller) -> None:
        address = (self._address.hostname, self._address.port)
        connection = socket.create_connection(address, timeout=60)
        connection.sendall(
            f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {caller.key}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        self._open[connection] = (caller.name, bytearray())
        self._selector.register(connection, selectors.EVENT_READ)

    def replies(self) -> list[Reply]:
        """All that come; fails if a connection ends without one."""
        done = []
        while self._open:
            ready = self._selector.select(timeout=120)
            assert ready, f"{len(self._open)} calls are not answered"
            for key, _ in ready:
                reply = self._read(key.fileobj)  # pyright: ignore[reportArgumentType]
                if reply is not None:
                    done.append(reply)
        return done

    def _read(self, connection: socket.socket) -> Reply | None:
        caller, received = self._open[connection]
        piece = connection.recv(64 << 10)
        assert piece, f"a call of {caller} was lost: {bytes(received)!r}"
        received += piece
        head, blank, body = bytes(received).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines[1:])}
        if not blank or len(body) < int(headers["content-length"]):
            return None
        del self._open[connection]
        self._selector.unregister(connection)
        connection.close()
        return Reply(caller, int(lines[0].split()[1]), headers, body)


def counted(server: Server, app: str, what: str) -> int:
    """How many inputs of the app's first function are running, or waiting."""
    return server.http("GET", f"/api/v1/apps/{app}").document["functions"][0][what]


def memory_bytes(pid: int, field: str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        found = re.search(rf"^{field}:\s+(\d+) kB$", status.read(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


def largest_lead(replies: list[Reply], first: str) -> float:
    """The largest share, of what had been served by then, by which one caller led the other."""
    served = sorted((int(reply.body), reply.caller) for reply in replies)
    lead, largest = 0, 0.0
    for count, (_, caller) in enumerate(served, start=1):
        lead += 1 if caller == first else -1
        if count >= 1_000:
            largest = max(largest, abs(lead) / count)
    return largest


def test_a_herd_of_calls_to_a_function_at_zero_is_all_served_and_fairly(
    many_descriptors: None, own_server: Server
) -> None:
    own_server.deploy("holds.py")
    own_server.deploy("herd.py")
    callers = [make_caller(own_server, name) for name in ("ada", "bob")]
    late = make_caller(own_server, "late")
    serve = own_server.pid("serve")

    with Herd(own_server, "/fn/holds/hold") as hold, Herd(own_server, "/fn/herd/work") as herd:
        hold.call(callers[0])
        wait_until("the devices are held", lambda: counted(own_server, "holds", "running") == 1)
        before = memory_bytes(serve, "VmRSS")
        for caller in callers:  # one after the other: who comes first would be served first
            for _ in range(QUEUE_LIMIT // 2):
                herd.call(caller)
        wait_until("all wait", lambda: counted(own_server, "herd", "waiting") == QUEUE_LIMIT)

        for caller in callers:
            answer = own_server.http(
                "POST", "/fn/herd/work", {}, Authorization=f"Bearer {caller.key}"
            )
            assert (answer.status, answer.code) == (429, "resource_exhausted"), answer
            check_refusal(answer)
        herd.call(late)  # has its share of the limit all the same
        wait_until("it waits", lambda: counted(own_server, "herd", "waiting") == QUEUE_LIMIT + 1)
        assert own_server.http("GET", "/healthz").status == 200

        own_server.cli("app", "stop", "holds")
        replies = herd.replies()
    assert {reply.status for reply in replies} == {200}
    assert len(replies) == QUEUE_LIMIT + 1
    containers = {reply.headers["ember-container-id"] for reply in replies}
    assert len(containers) == 2
    assert containers == {row["container_id"] for row in own_server.containers("herd")}
    pay_for_a_start = [r for r in replies if float(r.headers["ember-start-cost-usd"]) > 0]
    assert len(pay_for_a_start) == 2
    of_two = [reply for reply in replies if reply.caller != "late"]
    lead = largest_lead(of_two, "ada")
    assert lead <= 0.05
    growth = memory_bytes(serve, "VmHWM") - before
    print(f"largest lead {lead:.4f}; {growth / QUEUE_LIMIT / 1024:.1f} KiB a call at the most")
    assert growth <= QUEUE_LIMIT * MOST_BYTES_PER_CALL


def check_refusal(answer: Answer) -> None:
    retry_after_s = int(answer.headers["retry-after"])
    assert 1 <= retry_after_s <= 300
    assert answer.headers["x-ratelimit-limit"] == str(QUEUE_LIMIT)
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert answer.headers["x-ratelimit-reset"] == str(retry_after_s)
    assert answer.document["error"]["limit"] == {"name": "queue_limit", "value": QUEUE_LIMIT}
    assert "queue_limit=" in answer.message


def test_a_function_with_a_full_queue_locks_nobody_out(
    many_descriptors: None, own_server: Server
) -> None:
    own_server.deploy("one_by_one.py")
    caller = Caller("own", own_server.key)
    with Herd(own_server, "/fn/one_by_one/wait") as herd:
        herd.call(caller)
        wait_until("one runs", lambda: counted(own_server, "one_by_one", "running") == 1)
        for _ in range(QUEUE_LIMIT):
            herd.call(caller)
        wait_until(
            "it is full", lambda: counted(own_server, "one_by_one", "waiting") == QUEUE_LIMIT
        )
        answer = own_server.call("one_by_one", "wait")
        assert (answer.status, answer.code) == (429, "resource_exhausted"), answer
        assert own_server.http("GET", "/healthz").status == 200
        assert own_server.json("status")["apps"] == 1
        own_server.cli("app", "stop", "one_by_one")


def test_one_caller_cannot_take_all_connections(many_descriptors: None, own_server: Server) -> None:
    own_server.deploy("two_slow.py")
    greedy, other = Caller("own", own_server.key), make_caller(own_server, "other")
    with Herd(own_server, "/fn/two_slow/one") as one, Herd(own_server, "/fn/two_slow/two") as two:
        for call in range(MANY_CALLS):
            (one if call < QUEUE_LIMIT else two).call(greedy)
        refused = own_server.http("POST", "/fn/two_slow/quick", {})
        assert (refused.status, refused.code) == (429, "resource_exhausted")
        assert refused.document["error"]["limit"]["name"] == "client_calls"
        limit = int(refused.headers["x-ratelimit-limit"])

        answer = own_server.http(
            "POST", "/fn/two_slow/quick", {}, Authorization=f"Bearer {other.key}"
        )
        assert (answer.status, answer.document) == (200, "here")
        assert own_server.http("GET", "/healthz").status == 200
        own_server.cli("app", "stop", "two_slow")
        statuses = [reply.status for reply in one.replies() + two.replies()]
    assert statuses.count(499) == 4 * limit // 5
    assert statuses.count(429) == MANY_CALLS - 4 * limit // 5


def test_a_workspace_has_a_limit_over_all_its_functions(own_server: Server) -> None:
    own_server.cli("down", "--now")
    own_server.up("--workspace-queue-limit", "3")
    own_server.deploy("holds.py")
    own_server.deploy("herd.py")
    caller = Caller("own", own_server.key)

    def waiting() -> int:
        return sum(counted(own_server, app, "waiting") for app in ("holds", "herd"))

    with Herd(own_server, "/fn/holds/hold") as hold, Herd(own_server, "/fn/herd/work") as herd:
        hold.call(caller)
        wait_until("the devices are held", lambda: counted(own_server, "holds", "running") == 1)
        hold.call(caller)
        herd.call(caller)
        herd.call(caller)
        wait_until("all wait", lambda: waiting() == 3)
        done = own_server.cli("call", "herd.work", status=4)
        assert "3 inputs of its functions wait already" in done.stderr
        assert "next: try again in" in done.stderr
        own_server.cli("app", "stop", "holds")
        assert {reply.status for reply in herd.replies()} == {200}


def test_a_thousand_at_once_never_get_past_the_limit(own_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "narrow.py"
    script.write_text(
        "import time\nimport ember\napp = ember.App('narrow-queue')\n"
        "@app.function(max_containers=1, queue_limit=10)\n"
        "def wait() -> None:\n    time.sleep(600)\n"
    )
    own_server.cli("deploy", script)
    caller = Caller("own", own_server.key)

    with Herd(own_server, "/fn/narrow-queue/wait") as herd:
        herd.call(caller)
        wait_until("one runs", lambda: counted(own_server, "narrow-queue", "running") == 1)
        threads = [
            threading.Thread(target=lambda: [herd.call(caller) for _ in range(100)])
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        own_server.cli("app", "stop", "narrow-queue")
        statuses = [reply.status for reply in herd.replies()]
    assert statuses.count(429) == 1_000 - 10
    assert statuses.count(499) == 10 + 1


def test_a_key_opens_the_server_until_it_is_revoked(own_server: Server) -> None:
    made = own_server.json("key", "create", "ci")
    key = made["key"]
    assert re.fullmatch(r"ember_[0-9a-z]{59}", key)
    assert "there is a key named ci" in own_server.cli("key", "create", "ci", status=2).stderr
    listed = own_server.json("key", "list")["keys"]
    assert [(row["name"], row["own"]) for row in listed][1:] == [("ci", False)]
    assert listed[0]["own"]
    assert key not in json.dumps(listed)

    own_server.cli("app", "list", EMBER_URL=own_server.url, EMBER_KEY=key)
    address = urlsplit(own_server.url)
    request = f"GET /api/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
    with contextlib.closing(
        socket.create_connection((address.hostname, address.port), timeout=60)
    ) as kept:
        kept.sendall(request.encode())
        assert kept.recv(64 << 10).startswith(b"HTTP/1.1 200 ")
        own_server.cli("key", "revoke", "ci")
        kept.sendall(request.encode())
        assert kept.recv(64 << 10).startswith(b"HTTP/1.1 401 ")
    done = own_server.cli("app", "list", status=3, EMBER_URL=own_server.url, EMBER_KEY=key)
    assert "revoked" in done.stderr
    done = own_server.cli("app", "list", status=3, EMBER_URL=own_server.url, EMBER_KEY=key[:-1])
    assert "not whole" in done.stderr
    done = own_server.cli("key", "revoke", listed[0]["key_id"], status=2)
    assert "the key of the data directory" in done.stderr

    own_server.cli("down", "--now")
    own_server.up()
    done = own_server.cli("app", "list", status=3, EMBER_URL=own_server.url, EMBER_KEY=key)
    assert "revoked" in done.stderr
    own_server.cli("app", "list")


def test_a_key_that_expires_opens_the_server_until_then(own_server: Server) -> None:
    key = own_server.json("key", "create", "brief", "--expires", "3s")["key"]
    as_caller = {"EMBER_URL": own_server.url, "EMBER_KEY": key}
    own_server.cli("app", "list", **as_caller)
    wait_until(
        "it has expired",
        lambda: (
            [row["state"] for row in own_server.json("key", "list", "--all")["keys"]][1:]
            == ["expired"]
        ),
    )
    assert "expired" in own_server.cli("app", "list", status=3, **as_caller).stderr
    assert [row["own"] for row in own_server.json("key", "list")["keys"]] == [True]
    done = own_server.cli("key", "create", "odd", "--expires", "9999d", status=2)
    assert "lifetime_ms must be" in done.stderr
