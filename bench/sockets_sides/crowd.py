"""Clients that do nothing: so many connections to one server, every other of which has made one call before.

`crowd.py HOST PORT COUNT [REQUEST_FILE]` prints a line once all are open and used, keeps them (one that the server
closes is opened again at once) until its input ends, and prints what happened meanwhile. Standard library only.
"""

from __future__ import annotations

import errno
import json
import resource
import select
import socket
import sys
from pathlib import Path

# Each source address has 28,000 ports, and those of connections that the server closed rest for a minute.
SOURCES = [f"127.0.0.{n}" for n in range(10, 30)]
AT_ONCE = 200  # connections being opened: fewer than a backlog holds


class Crowd:
    """The connections, by descriptor, and who is still on the way."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.address = address
        self.request = request
        self.poll = select.epoll()
        self.open: dict[int, socket.socket] = {}
        self.awaited: dict[int, bytes] = {}  # of those that made a call: the answer so far
        self.opened = 0
        self.reopened = 0
        self.bad_answers = 0

    def add(self, use: bool) -> None:
        """One more connection; with `use`, one call on it."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind((SOURCES[self.opened % len(SOURCES)], 0))
        self.opened += 1
        connection.connect(self.address)
        connection.setblocking(False)
        number = connection.fileno()
        self.open[number] = connection
        self.poll.register(number, select.EPOLLIN | select.EPOLLRDHUP)
        if use:
            self.awaited[number] = b""
            connection.send(self.request)

    def turn(self, timeout_s: float) -> None:
        """Takes what has come: answers, and closes, which are opened again."""
        for number, _ in self.poll.poll(timeout_s):
            try:
                data = self.open[number].recv(65536)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    continue
                data = b""
            if data and number in self.awaited:
                self._take_answer(number, data)
            elif not data:
                used = self.awaited.pop(number, None) is not None
                self.poll.unregister(number)
                self.open.pop(number).close()
                self.reopened += 1
                self.add(used)

    def _take_answer(self, number: int, data: bytes) -> None:
        answer = self.awaited[number] + data
        head, found, body = answer.partition(b"\r\n\r\n")
        if not found:
            self.awaited[number] = answer
            return
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        if len(body) < length:
            self.awaited[number] = answer
            return
        del self.awaited[number]
        self.bad_answers += b" 200 " not in head.split(b"\r\n")[0]


def main() -> None:
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    request = Path(sys.argv[4]).read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd((host, port), request)
    for number in range(count):
        crowd.add(use=number % 2 == 0)
        while len(crowd.awaited) >= AT_ONCE // 2:
            crowd.turn(1.0)
        if number % AT_ONCE == 0:
            crowd.turn(0)
    while crowd.awaited:
        crowd.turn(1.0)
    print("ready", flush=True)
    crowd.poll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
    crowd.open[sys.stdin.fileno()] = _Input()  # type: ignore[assignment]
    try:
        while True:
            crowd.turn(10.0)
    except EOFError:
        pass
    told = {"open": len(crowd.open) - 1, "reopened": crowd.reopened, "bad": crowd.bad_answers}
    print(json.dumps(told), flush=True)


class _Input:
    """The end of standard input, in the place of a socket."""

    def recv(self, _: int) -> bytes:
        raise EOFError


if __name__ == "__main__":
    main()
