"""Maps against a server that may say anything: windows, pieces, ends and breaks."""

from __future__ import annotations

import itertools
import json
import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

import ember
from ember import _client
from ember._config import Config
from ember._websocket import accept_of
from ember.exception import ResourceExhaustedError, UnavailableError

WAIT_S = 30.0
Sent = list[tuple[int, int, bytes]]


class Peer:
    """The server's end of one map."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(WAIT_S)
        self._read = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read.readline()
        self.path = head.split(b" ")[1].decode()
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_of(key).encode() + b"\r\n\r\n"
        )
        self.words: list[dict[str, Any]] = []
        self._bytes = b""
        self.hung_up = False

    def say(self, **document: object) -> None:
        self.send(0x81, json.dumps(document).encode())

    def send(self, first: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((first, size)) if size < 126 else bytes((first, 127)) + size.to_bytes(8, "big")
        self._connection.sendall(head + payload)

    def result(self, number: int, value: object) -> bytes:
        body = pickle.dumps(value)
        return struct.pack("<QIBQ", number, len(body), 2, 77) + body

    def failure(self, number: int, **report: object) -> bytes:
        body = json.dumps(report).encode()
        return struct.pack("<QIBQ", number, len(body), 0x81, 77) + body

    def window(self, inputs: int, size_bytes: int = 1 << 20) -> None:
        self.say(window={"inputs": inputs, "bytes": size_bytes})

    def next_input(self) -> tuple[int, Any]:
        """The next one; AssertionError if the client says that there is none."""
        while len(self._bytes) < 13 or len(self._bytes) < 13 + self._length():
            self._frame()
            assert not self.words or "end_of_input" not in self.words[-1], "no more inputs"
        number, length, kind = struct.unpack_from("<QIB", self._bytes)
        assert kind == 2
        args, _ = pickle.loads(self._bytes[13 : 13 + length])
        self._bytes = self._bytes[13 + length :]
        return number, args[0]

    def until_word(self, name: str) -> Any:
        while not any(name in word for word in self.words):
            self._frame()
        return next(word for word in self.words if name in word)[name]

    def until_hung_up(self) -> None:
        while not self.hung_up:
            self._frame()

    def close(self) -> None:
        self._read.close()
        self._connection.close()

    def _length(self) -> int:
        return struct.unpack_from("<I", self._bytes, 8)[0]

    def _frame(self) -> None:
        head = self._read.read(2)
        if len(head) < 2:
            self.hung_up = True
            return
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self._read.read(2 if size == 126 else 8), "big")
        mask = self._read.read(4)
        payload = self._read.read(size)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        if head[0] == 0x81:
            self.words.append(json.loads(data))
        elif head[0] == 0x82:
            self._bytes += data


Script = Callable[[Peer], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Script], ember.Function[..., Any]]]:
    """Gives a function whose next map meets a server that follows a script."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(WAIT_S)
    before = _client._shared
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    _client._shared = _client.Client(Config(url, "ek-test"))
    failures: list[BaseException] = []
    threads: list[threading.Thread] = []

    def begin(script: Script) -> ember.Function[..., Any]:
        def run() -> None:
            try:
                peer = Peer(listener.accept()[0])
                try:
                    script(peer)
                finally:
                    peer.close()
            except ConnectionError:
                pass  # the client has left, as some do
            except BaseException as error:
                failures.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return ember.Function.from_name("docs", "read")

    yield begin
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    _client._shared = before
    listener.close()
    assert not failures, failures


def test_inputs_go_out_and_results_come_back(serve: Any) -> None:
    def script(peer: Peer) -> None:
        assert peer.path == "/api/v1/apps/docs/functions/read/map"
        peer.window(2)
        answered = 0
        while answered < 5:
            number, value = peer.next_input()
            peer.send(0x82, peer.result(number, value * 10))
            answered += 1
        assert peer.until_word("end_of_input") is True
        peer.say(end={"done": 5})
        peer.until_hung_up()

    assert list(serve(script).map(range(5))) == [0, 10, 20, 30, 40]


def test_results_are_put_in_order_however_they_come_and_are_cut(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(10)
        inputs = [peer.next_input() for _ in range(4)]
        stream = b"".join(peer.result(number, value) for number, value in reversed(inputs))
        for i in range(0, len(stream), 3):
            peer.send(0x82, stream[i : i + 3])
        peer.until_hung_up()

    assert list(serve(script).map("abcd")) == ["a", "b", "c", "d"]


def test_without_order_they_are_given_as_they_come(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(10)
        inputs = [peer.next_input() for _ in range(4)]
        for number, value in reversed(inputs):
            peer.send(0x82, peer.result(number, value))
        peer.until_hung_up()

    assert list(serve(script).map("abcd", order_outputs=False)) == ["d", "c", "b", "a"]


def test_no_more_is_drawn_than_the_windows_allow(serve: Any) -> None:
    drawn = 0
    seen = threading.Event()

    def inputs() -> Iterator[int]:
        nonlocal drawn
        for number in itertools.count():
            drawn += 1
            yield number

    def script(peer: Peer) -> None:
        peer.window(3)
        for _ in range(3):
            number, value = peer.next_input()
            peer.send(0x82, peer.result(number, value))
        # The consumer takes one and stops: three more windows may come, and no more.
        for _ in range(4 * 3 + 1 - 3):
            number, value = peer.next_input()
            peer.send(0x82, peer.result(number, value))
        seen.set()
        peer.until_hung_up()
        assert not peer._bytes

    results = serve(script).map(inputs())
    assert next(results) == 0
    assert seen.wait(WAIT_S)
    assert drawn == 13
    results.close()
    assert drawn == 13


def test_bytes_have_a_window_of_their_own_but_for_one_alone(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(10, size_bytes=1000)
        for size in (5000, 600, 600):
            number, value = peer.next_input()
            assert len(value) == size
            assert not peer._bytes, "the next waits for this one's answer"
            peer.send(0x82, peer.result(number, size))
        peer.until_hung_up()

    assert list(serve(script).map([b"x" * 5000, b"y" * 600, b"z" * 600])) == [5000, 600, 600]


def test_what_has_come_is_said_to_be_taken(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(1)
        number, _ = peer.next_input()
        stream = peer.result(number, b"x" * 200_000)
        peer.send(0x82, stream[:150_000])
        assert peer.until_word("taken") == 150_000
        peer.send(0x82, stream[150_000:])
        peer.until_hung_up()

    (value,) = serve(script).map([1])
    assert len(value) == 200_000


def test_pings_are_answered_while_the_loop_is_at_something_else(serve: Any) -> None:
    ponged = threading.Event()

    def script(peer: Peer) -> None:
        peer.window(2)
        number, value = peer.next_input()
        peer.send(0x82, peer.result(number, value))
        peer.send(0x89, b"there?")
        while (head := peer._read.read(1)) != b"\x8a":
            assert head == b"\x82"
            peer._read.read(4 + (peer._read.read(1)[0] & 0x7F))
        ponged.set()

    results = serve(script).map(itertools.count())
    assert next(results) == 0
    assert ponged.wait(WAIT_S)
    results.close()


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ([{"error": {"code": "unavailable", "message": "going down"}}], UnavailableError, "going"),
        ([], UnavailableError, r"docs\.read.*1 inputs had no result.*ember status"),
        (
            [{"error": {"code": "resource_exhausted", "message": "full"}}],
            ResourceExhaustedError,
            "full",
        ),
    ],
)
def test_what_ends_the_map_is_raised(
    serve: Any, words: list[dict[str, Any]], kind: type[Exception], said: str
) -> None:
    def script(peer: Peer) -> None:
        peer.window(1)
        peer.next_input()
        for word in words:
            peer.say(**word)

    with pytest.raises(kind, match=said):
        list(serve(script).map(itertools.count()))


def test_an_error_names_its_call(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(1)
        number, _ = peer.next_input()
        peer.send(0x82, peer.failure(number, kind="timed_out", message="too long"))
        peer.until_hung_up()

    with pytest.raises(ember.EmberError, match="too long") as raised:
        list(serve(script).map([1, 2]))
    assert raised.value.call_id == "fc-000000000002d"


def test_a_loop_that_is_left_hangs_up(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.window(4)
        number, value = peer.next_input()
        peer.send(0x82, peer.result(number, value))
        peer.until_hung_up()

    for value in serve(script).map(itertools.count()):
        assert value == 0
        break


def test_a_generator_of_inputs_is_closed_with_the_map(serve: Any) -> None:
    closed = threading.Event()

    def inputs() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    def script(peer: Peer) -> None:
        peer.window(1)
        number, value = peer.next_input()
        peer.send(0x82, peer.result(number, value))
        peer.until_hung_up()

    results = serve(script).map(inputs())
    assert next(results) == 0
    results.close()
    assert closed.wait(WAIT_S)
