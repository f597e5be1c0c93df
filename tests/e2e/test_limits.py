"""What a server takes at most, and that it can be looked at and led then too."""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

QUEUE_LIMIT = 10_000  # the default
DESCRIPTORS = QUEUE_LIMIT + 3_000  # for this process and, less its own, for the server


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < DESCRIPTORS:
        pytest.skip(f"this machine lets a process open {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_function_with_a_full_queue_locks_nobody_out(
    many_descriptors: None, own_server: Server
) -> None:
    own_server.deploy("one_by_one.py")
    call = (
        "POST /fn/one_by_one/wait HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {own_server.key}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    address = urlsplit(own_server.url)
    with contextlib.ExitStack() as held:

        def send() -> None:
            connection = socket.create_connection((address.hostname, address.port), timeout=60)
            held.enter_context(connection).sendall(call)

        def counted(what: str) -> int:
            app = own_server.http("GET", "/api/v1/apps/one_by_one").document
            return app["functions"][0][what]

        send()
        wait_until("one runs", lambda: counted("running") == 1)
        for _ in range(QUEUE_LIMIT):
            send()
        wait_until("the queue is full", lambda: counted("waiting") == QUEUE_LIMIT)
        answer = own_server.call("one_by_one", "wait")
        assert (answer.status, answer.code) == (429, "resource_exhausted"), answer
        assert own_server.http("GET", "/healthz").status == 200
        assert own_server.json("status")["apps"] == 1
        own_server.cli("app", "stop", "one_by_one")
