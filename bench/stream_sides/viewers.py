"""Viewers of so many streams at once, in one process, which come and leave at moments of their own.

`viewers.py URL COUNT SECONDS [KEY]` prints one line of JSON: how long items were on their way, from their yield to here,
how long the first of each stream took from its request on, and how long a producer went on after its viewer had left.
Standard library only.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import statistics
import sys
import time
from urllib.parse import urlsplit

SPREAD_S = 2.0  # in which all of them come, and in which they leave
SETTLE_S = 1.0
LEAVE_LIMIT_S = 10.0
ITEM = re.compile(rb"(?:^|\n)(\d{9,})\r?\n")


class Viewers:
    """The connections, by descriptor, and what they have seen."""

    def __init__(self, url: str, count: int, key: str | None) -> None:
        self.url = urlsplit(url)
        self.key = key
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.rests: dict[int, bytes] = {}
        self.asked_ns: dict[int, int] = {}  # of those without an item yet
        self.left_ns: dict[int, int] = {}
        self.first_ns: list[int] = []
        self.added_ns: list[int] = []
        self.window_ns: tuple[int, int] = (0, 0)  # items that were yielded in it count
        self.waiting = [self._connect() for _ in range(count)]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((self.url.hostname, self.url.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, stream: int) -> bytes:
        body = b'{"stream": %d}' % stream
        lines = [
            f"POST {self.url.path} HTTP/1.1",
            "Host: localhost",
            f"Content-Length: {len(body)}",
        ]
        lines += ["Content-Type: application/json", "Accept: application/x-ndjson"]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def come(self) -> None:
        """One more asks for its stream."""
        connection = self.waiting.pop()
        number = connection.fileno()
        connection.setblocking(False)
        self.sockets[number] = connection
        self.rests[number] = b""
        self.poll.register(number, select.EPOLLIN)
        self.asked_ns[number] = time.monotonic_ns()
        connection.send(self.request(number))

    def leave(self) -> None:
        """One hangs up."""
        number, connection = self.sockets.popitem()
        self.poll.unregister(number)
        self.left_ns[number] = time.monotonic_ns()
        connection.close()

    def watch(self, until_s: float) -> None:
        """Reads what comes, until then."""
        while (left_s := until_s - time.monotonic()) > 0:
            for number, _ in self.poll.poll(left_s):
                self._read(number)

    def _read(self, number: int) -> None:
        data = self.sockets[number].recv(65536)
        now_ns = time.monotonic_ns()
        if not data:
            sys.exit("the server ended a stream")
        data = self.rests[number] + data
        items, end = [], 0
        for found in ITEM.finditer(data):
            items.append(int(found[1]))
            end = found.end()
        self.rests[number] = data[end:]
        if items and number in self.asked_ns:
            self.first_ns.append(now_ns - self.asked_ns.pop(number))
        begin_ns, end_ns = self.window_ns
        self.added_ns += [now_ns - at_ns for at_ns in items if begin_ns <= at_ns < end_ns]

    def take_stopped(self) -> dict[int, int]:
        """What the server says of streams that have ended."""
        with self._connect() as connection:
            connection.sendall(self.request(-1))
            answer = b""
            while (found := re.search(rb"\{.*\}", answer)) is None:
                data = connection.recv(65536)
                if not data:
                    sys.exit(f"the server answered {answer!r}")
                answer += data
        return {int(stream): at_ns for stream, at_ns in json.loads(found[0]).items()}

    def stop_ns(self) -> list[int]:
        """How long each producer went on after its viewer had left."""
        stopped: dict[int, int] = {}
        deadline_s = time.monotonic() + LEAVE_LIMIT_S
        while len(stopped) < len(self.left_ns):
            if time.monotonic() > deadline_s:
                sys.exit(f"{len(stopped)} of {len(self.left_ns)} producers have stopped")
            time.sleep(0.1)
            stopped |= self.take_stopped()
        return [stopped[number] - left_ns for number, left_ns in self.left_ns.items()]


def moments(chance: random.Random, count: int) -> list[float]:
    """As many moments from now on, as independent clients choose them."""
    now_s = time.monotonic()
    return [now_s + one for one in sorted(chance.uniform(0, SPREAD_S) for _ in range(count))]


def main() -> None:
    url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    viewers = Viewers(url, count, sys.argv[4] if len(sys.argv) > 4 else None)
    viewers.take_stopped()  # of an earlier run
    chance = random.Random(7)
    for at_s in moments(chance, count):
        viewers.watch(at_s)
        viewers.come()
    begin_s = time.monotonic() + SETTLE_S
    viewers.window_ns = (int(1e9 * begin_s), int(1e9 * (begin_s + seconds)))
    viewers.watch(begin_s + seconds + SETTLE_S)
    if viewers.asked_ns:
        sys.exit(f"{len(viewers.asked_ns)} streams of {count} have no item")
    for at_s in moments(chance, count):
        viewers.watch(at_s)
        viewers.leave()
    added = statistics.quantiles(viewers.added_ns, n=1000)
    first = statistics.quantiles(viewers.first_ns, n=100)
    stop = statistics.quantiles(viewers.stop_ns(), n=100)
    told = {
        "added_p50_ms": added[499],
        "added_p99_ms": added[989],
        "added_p999_ms": added[998],
        "first_item_p50_ms": first[49],
        "first_item_p99_ms": first[98],
        "stop_p50_ms": stop[49],
        "stop_p99_ms": stop[98],
    }
    figures = {name: value / 1e6 for name, value in told.items()}
    print(json.dumps({**figures, "items_per_s": len(viewers.added_ns) / seconds}))


if __name__ == "__main__":
    main()
