"""WebSocket as the client speaks it, against a peer that may send anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ember import _websocket
from ember._websocket import BYTES, TEXT, Broken, WebSocket


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield WebSocket(ours, b""), theirs


def frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return bytes((first, 126)) + size.to_bytes(2, "big") + payload


def test_the_key_of_the_standard_gets_the_answer_of_the_standard() -> None:
    assert _websocket.accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert len(_websocket.new_key()) == 24


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_001])
def test_what_is_sent_is_masked_and_whole(ends: tuple[WebSocket, socket.socket], size: int) -> None:
    ours, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    ours._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    payload = bytes(range(256)) * (size // 256 + 1)
    ours.send(BYTES, payload[:size])
    sent = theirs.recv(1 << 20, socket.MSG_WAITALL | socket.MSG_DONTWAIT)
    assert sent[0] == 0x82
    assert sent[1] & 0x80, "it is masked"
    begin = {126: 4, 127: 10}.get(sent[1] & 0x7F, 2)
    told = int.from_bytes(sent[2:begin], "big") if begin > 2 else sent[1] & 0x7F
    mask, data = sent[begin : begin + 4], sent[begin + 4 :]
    assert told == size == len(data)
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) == payload[:size]


def test_messages_come_whole_however_they_were_cut(
    ends: tuple[WebSocket, socket.socket],
) -> None:
    ours, theirs = ends
    stream = (
        frame(0x01, b"in ") + frame(0x89, b"there?") + frame(0x80, b"parts")
        + frame(0x82, b"x" * 300) + frame(0x8A, b"")
    )  # fmt: skip
    found = []
    for byte in stream:
        theirs.sendall(bytes((byte,)))
        found += ours.receive()
    assert found == [(TEXT, b"in parts"), (BYTES, b"x" * 300)]
    pong = theirs.recv(100)
    assert pong[0] == 0x8A
    assert not ours.closed
    theirs.sendall(frame(0x88, b"\x03\xe8") + frame(0x81, b"late"))
    assert ours.receive() == []
    assert ours.closed


@pytest.mark.parametrize(
    "stream",
    [
        b"\x81\x85maskhello",  # a mask, which a server has none of
        b"\xc1\x01x",  # a reserved bit
        b"\x83\x00",  # an unknown kind
        b"\x80\x01x",  # the end of what never began
        b"\x01\x01x\x81\x01y",  # a message within a message
        b"\x82\x7f\x00\x00\x00\xff\x00\x00\x00\x00",  # a terabyte
        b"",  # it hung up
    ],
)
def test_a_peer_that_speaks_something_else_breaks_the_conversation(
    ends: tuple[WebSocket, socket.socket], stream: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(stream)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(Broken):
        for _ in range(3):
            ours.receive()


def test_what_came_with_the_head_is_read_first() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = WebSocket(ours, frame(0x81, b"early"))
        assert one.has_unread()
        assert one.receive() == [(TEXT, b"early")]
        assert not one.has_unread()
