"""Request smuggling: real proxies in front of a real server agree with it on what is a request.

Each message goes through nginx or HAProxy on a connection of its own. Their logs say how many requests the proxy
believes it passed on, the server's own count how many it saw: a difference is a smuggled request.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

import pytest
from conftest import REPOSITORY, wait_until
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

MUTATIONS = int(os.environ.get("EMBER_PROXY_MUTATIONS", "200"))
SEED = 20261126
QUIET_S = 0.05  # without a byte, after which a proxy that keeps the connection is left

NGINX = """
worker_processes 1;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 256; }}
http {{
  log_format passed '$upstream_addr';
  access_log {folder}/passed.log passed;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream ember {{ server {target}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    ignore_invalid_headers off;
    underscores_in_headers on;
    proxy_request_buffering off;
    location / {{
      proxy_pass http://ember;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_next_upstream off;
    }}
  }}
}}
"""

HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%s"
  option http-keep-alive
  option accept-invalid-http-request
  http-reuse always
  retries 0
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend front
  bind 127.0.0.1:{port}
  default_backend ember
backend ember
  server passed {target}
"""


class Proxy(NamedTuple):
    """A proxy in front of the server, and how many requests it says that it has passed on."""

    port: int
    passed: Callable[[], int]


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(
    request: pytest.FixtureRequest, own_server: Server, tmp_path: Path
) -> Iterator[tuple[Server, Proxy]]:
    program = shutil.which(request.param, path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed; `make drill NAME=proxies` installs it")
    target, port = own_server.url.removeprefix("http://"), free_port()
    text = NGINX if request.param == "nginx" else HAPROXY
    user = "user root;" if os.geteuid() == 0 else ""
    config = tmp_path / "proxy.conf"
    config.write_text(text.format(folder=tmp_path, target=target, port=port, user=user))
    log = tmp_path / "passed.log"
    log.touch()
    with log.open("ab") as output:
        if request.param == "nginx":
            command = [program, "-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "e")]
            process = subprocess.Popen(command)
        else:
            process = subprocess.Popen([program, "-f", str(config)], stdout=output)

    # nginx says "-" of what it refused by itself, HAProxy "<NOSRV>".
    def passed() -> int:
        return sum(line[:1].isalnum() for line in log.read_text().splitlines())

    try:
        wait_until("the proxy listens", lambda: answers(port))
        yield own_server, Proxy(port, passed)
    finally:
        process.terminate()
        process.wait()


def messages() -> list[bytes]:
    """Requests that servers have been known to read differently, and mutations of them."""
    key = b"Host: localhost\r\n"
    post = b"POST /fn/a/b HTTP/1.1\r\n" + key
    hidden = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    length = b"Content-Length: %d\r\n"
    encodings = [
        b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\tchunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding: identity, chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n", b"X: x\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n", b"transfer_encoding: chunked\r\n",
        b"Transfer-Encoding: CHUNKED\r\n", b"Transfer-Encoding: chunked,\r\n",
        b"\x00Transfer-Encoding: chunked\r\n", b"Foo: bar\r\rTransfer-Encoding: chunked\r\n",
    ]  # fmt: skip
    lengths = [
        b"Content-Length: %d, %d\r\n", b"Content-Length: +%d\r\n", b"Content-Length : %d\r\n",
        b"Content-Length: %d\r\nContent-Length: 0\r\n", b"Content-Length: 0\r\nContent-Length: %d\r\n",
        b"Content-Length:\r\n %d\r\n", b"Content_Length: %d\r\n", b"Content-Length: 0%d\r\n",
        b"Content-Length: \x0b%d\r\n", b"X: x\nContent-Length: %d\r\n",
    ]  # fmt: skip
    last = b"0\r\n\r\n"
    sizes = [
        b"0\n\n", b"0;a=b\r\n\r\n", b"0;a=\"\n\"\r\n\r\n", b"00\r\n\r\n", b"0x0\r\n\r\n", b"+0\r\n\r\n",
        b"0 \r\n\r\n", b"0\r\nContent-Length: 40\r\n\r\n", b"0\r\nX: y\n\r\n", b"2\r\n{}\n0\r\n\r\n",
        b"2\r\n{}0\r\n\r\n", b"10000000000000000\r\n", b"2;\r\r\n{}\r\n0\r\n\r\n", b"0\r\n",
    ]  # fmt: skip
    good = b"PUT /api/v1/blobs/aa HTTP/1.1\r\n" + key
    found = [hidden, hidden + hidden, b"\r\n\r\n" + hidden, hidden.replace(b"\r\n", b"\n")]
    found += [
        good + length % 2 + b"\r\n{}" + hidden,
        good + chunked + b"\r\n2\r\n{}\r\n" + last + hidden,
    ]
    found.append(post + length % len(last + hidden) + chunked + b"\r\n" + last + hidden)
    found.append(post + chunked + length % 4 + b"\r\n" + last + hidden)
    for one in encodings:
        found.append(post + one + b"\r\n" + last + hidden)
        found.append(post + length % len(last + hidden) + one + b"\r\n" + last + hidden)
    for one in lengths:
        found.append(post + one.replace(b"%d", b"%d" % len(hidden)) + b"\r\n" + hidden)
        found.append(post + one.replace(b"%d", b"5") + chunked + b"\r\n" + last + hidden)
    for one in sizes:
        found.append(post + chunked + b"\r\n" + one + hidden)
        found.append(good + chunked + b"\r\n" + one + hidden)
    for line in (
        b"GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n" + length % 44,
        b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n" + chunked,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + length % 44,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close, Content-Length\r\n"
        + length % 44,
        b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n" + length % 44,
        b"GET /healthz\x0bHTTP/1.1\r\nHost: localhost\r\n",
    ):
        found.append(line + b"\r\n" + hidden)
    for seed in sorted((REPOSITORY / "tests" / "fuzz" / "corpus" / "http").iterdir()):
        found.append(seed.read_bytes()[1:] + hidden)
    chance = random.Random(SEED)
    return found + [mutated(chance.choice(found), chance) for _ in range(MUTATIONS)]


def mutated(message: bytes, chance: random.Random) -> bytes:
    """The message with a few telling bytes put in, taken out or changed."""
    data = bytearray(message)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        telling = bytes([chance.choice(b'\r\n \t:;,0123af\0"/\x80\x0b')])
        end = at + chance.randrange(3)
        data[at:end] = telling * chance.randrange(3)
    return bytes(data)


def send(port: int, message: bytes) -> None:
    """Sends it, and reads until the proxy closes or has nothing more to say."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    with connection, contextlib.suppress(OSError):
        connection.sendall(message)
        connection.settimeout(QUIET_S)
        while connection.recv(65536):
            pass


def seen_by(server: Server) -> int:
    """The requests that the server has counted, this one left out."""
    with socket.create_connection(tuple_of(server), timeout=60) as connection:
        connection.sendall(
            f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    line = next(line for line in text.splitlines() if line.startswith("http_server_requests_total"))
    return int(float(line.split()[-1]))


def tuple_of(server: Server) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_no_request_is_seen_that_the_proxy_did_not_send(proxy: tuple[Server, Proxy]) -> None:
    server, front = proxy
    begin_seen, begin_passed = seen_by(server), front.passed()
    looks = 0

    def difference() -> int:
        nonlocal looks
        looks += 1
        return (seen_by(server) - begin_seen - looks) - (front.passed() - begin_passed)

    corpus = messages()
    for number, message in enumerate(corpus):
        send(front.port, message)
        deadline = time.monotonic() + 15
        while apart := difference():
            # A log line may come a little later than the request itself.
            assert time.monotonic() < deadline, (number, message, apart)
            time.sleep(0.02)
    assert difference() == 0
    assert front.passed() - begin_passed > len(corpus) / 10, "hardly anything came through"
