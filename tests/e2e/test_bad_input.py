"""Bad input: each gets an error that names the cause and the next step; nothing hangs."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from conftest import Answer, Server

if TYPE_CHECKING:
    from pathlib import Path


def refused(answer: Answer, status: int, code: str, *words: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer
    for word in words:
        assert word in answer.message, answer
    assert "Traceback" not in answer.message


def test_an_unknown_app_or_function(server: Server, basics: str) -> None:
    refused(server.call("nowhere", "f"), 404, "not_found", "nowhere")
    refused(server.call(basics, "nothing"), 404, "not_found", "nothing")
    assert "basics" in server.cli("call", "basic.add", "1", status=2).stderr  # did you mean
    assert "add" in server.cli("call", "basics.ad", "1", status=2).stderr
    assert "basics" in server.cli("logs", "basic", status=2).stderr


def test_arguments_that_do_not_fit_the_signature(server: Server, basics: str) -> None:
    refused(server.call(basics, "add"), 400, "invalid_argument", "a")
    refused(server.call(basics, "add", a=1, c=2), 400, "invalid_argument", "c")
    refused(server.call(basics, "add", a="one"), 400, "invalid_argument", "a", "int")
    refused(server.call(basics, "digest", data="no base64!"), 400, "invalid_argument", "base64")
    assert "not an integer" in server.cli("call", "basics.add", "one", status=2).stderr
    assert server.result(basics, "add", a=1) == 11


@pytest.mark.parametrize("body", [b"{", b"[1]", b"1", b"", b"\xff\xfe", b'{"a": 1}x'])
def test_a_body_that_is_no_json_object(server: Server, basics: str, body: bytes) -> None:
    refused(server.http("POST", "/fn/basics/add", body), 400, "invalid_argument")
    assert server.result(basics, "add", a=1) == 11


HOSTILE_JSON = {
    "deep": b'{"a": ' + b"[" * 1_000_000,
    "deep and closed": b'{"a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "wide": json.dumps({f"k{i}": i for i in range(100_000)}).encode(),
    "a long number": b'{"a": ' + b"7" * 9_000_000 + b"}",
    "not a number": b'{"a": NaN}',
    "no end of it": b'{"a": -Infinity}',
    "no UTF-8": b'{"a": "\xc3\x28"}',
    "half a pair": b'{"a": "\xed\xa0\x80"}',
}


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_json_that_is_made_to_hurt(server: Server, basics: str, body: bytes) -> None:
    """Wherever JSON is read, by the server or by the runner, it is refused, and all goes on."""
    for path in ("/fn/basics/add", "/api/v1/apps/hurt/deploy", "/api/v1/sources", "/api/v1/images"):
        answer = server.http("POST", path, body)
        assert answer.status in (400, 413), (path, answer)
        assert len(answer.message) < 1000
    assert server.result(basics, "add", a=1) == 11


def test_a_body_of_another_type(server: Server, basics: str) -> None:
    answer = server.http("POST", "/fn/basics/add", b"a=1", Content_Type="text/plain")
    refused(answer, 400, "invalid_argument", "JSON")  # `curl -d` says nothing of JSON either


def test_a_body_over_the_limit(server: Server, basics: str) -> None:
    """The refusal comes before the body, which the length alone tells to be too long."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /fn/basics/add HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {1 << 40}\r\n\r\n".encode()
        )
        head = connection.recv(4096).decode()
    assert head.startswith("HTTP/1.1 413 "), head
    assert "payload_too_large" in head


def test_a_missing_or_wrong_key(server: Server, basics: str) -> None:
    for key in (None, "", "Bearer", "Bearer wrong", "Bearer " + server.key[:-1] + "~"):
        for path in ("/api/v1/apps", "/fn/basics/add"):
            answer = server.http("POST" if "fn" in path else "GET", path, {}, Authorization=key)
            refused(answer, 401, "unauthenticated")
    done = server.cli("app", "list", status=3, EMBER_KEY="wrong", EMBER_URL=server.url)
    assert "EMBER_KEY" in done.stderr


def test_a_foreign_host_name_is_refused_on_loopback(server: Server) -> None:
    answer = server.http("GET", "/api/v1/apps", Host="evil.example")
    assert answer.status in (403, 421), answer


def test_a_host_name_that_up_was_given_is_let_in(data: Path) -> None:
    server = Server(data)
    server.up("--host-name", "gpus.example", "--host-name", "gpus2.example")
    try:
        for host, status in (
            ("gpus.example", 200),
            ("gpus2.example:80", 200),
            ("evil.example", 403),
        ):
            assert server.http("GET", "/api/v1/apps", Host=host).status == status
        said = server.cli("up", "--host-name", "evil.example").stderr
        assert "as it was started" in said
    finally:
        server.cli("down")


def test_a_path_or_method_that_is_none(server: Server) -> None:
    assert server.http("GET", "/api/v1/nothing").status == 404
    assert server.http("DELETE", "/api/v1/apps").status in (404, 405)


def test_a_call_or_container_id_that_is_none(server: Server) -> None:
    for identifier in ("nonsense", "fc-0000000000001"):
        assert server.http("GET", f"/api/v1/calls/{identifier}").status in (400, 404)
        server.cli("call", "show", identifier, status=2)
        server.cli("call", "cancel", identifier, status=2)


def test_a_name_that_is_none_in_the_path(server: Server) -> None:
    function = {"name": "f", "module": "m", "qualname": "f", "image": {"base": "host", "steps": []}}
    body = {"source": "src-" + "0" * 64, "functions": [function]}
    answer = server.http("POST", "/api/v1/apps/no%20spaces/deploy", body)
    refused(answer, 400, "invalid_argument", "app name")
    body["functions"] = [{**function, "name": "no spaces"}]
    answer = server.http("POST", "/api/v1/apps/fine/deploy", body)
    refused(answer, 400, "invalid_argument", "name")


def test_deploy_requests_that_make_no_sense(server: Server, app_name: str) -> None:
    path = f"/api/v1/apps/{app_name}/deploy"
    for body in ({}, {"functions": []}, {"functions": "f"}, {"source": "src-0", "functions": [{}]}):
        answer = server.http("POST", path, body)
        assert answer.status in (400, 409), (body, answer)
        assert answer.message


def test_a_second_server_on_one_data_directory(server: Server) -> None:
    """`ember up` says that it runs already; emberd itself names the process that holds it."""
    assert "already" in server.cli("up").stderr


def test_a_port_in_use(server: Server, data: Path) -> None:
    other = Server(data)
    listen = server.url.removeprefix("http://")
    done = other.cli("up", "--listen", listen, status=5)
    assert "in use" in done.stderr
    assert "next: ember up --listen" in done.stderr
    assert "does not run" in other.cli("down").stderr  # nothing is left


def test_flags_that_make_no_sense(data: Path) -> None:
    other = Server(data)
    for flags in (
        ["--listen", "nonsense"],
        ["--simulate-gpus", "L4:x"],
        ["--simulate-gpus", "NoSuchGpu:1"],
        ["--log-total-mib", "2000000"],
        ["--results-days", "0"],
    ):
        done = other.cli("up", *flags, status=5)
        assert "Traceback" not in done.stderr
        assert flags[1].split(":")[0] in done.stderr
    other.cli("up", "--isolation", "none", status=2)


def test_a_data_directory_that_is_none(server: Server, tmp_path: Path) -> None:
    for command in ("up", "down", "status"):
        assert "--data is empty" in server.cli(command, "--data", "", status=2).stderr
        assert "EMBER_DATA is empty" in server.cli(command, status=2, EMBER_DATA="").stderr
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", "/proc/ember", "/sys"):
        told = server.cli("up", "--data", place, status=2).stderr
        assert f"error: {place} cannot be the data directory: " in told
        assert "next: --data DIR" in told
