"""The runner's link by itself."""

from __future__ import annotations

import random
import socket
import struct
import threading
from pathlib import Path

from ember.runner import _frames as frames

CONNECTIONS = 300
HELLO = frames.frame(frames.HELLO, frames.JSON, 0, 0, b"{}")
LOG = frames.frame(frames.LOG, frames.NONE, 1, 1, b"\1line\n")


def test_nothing_goes_out_before_the_greeting(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    link = frames.Link(str(tmp_path / "s"))
    over = threading.Event()

    def print_all_the_time() -> None:
        while not over.is_set():
            try:
                link.send(LOG)
            except frames.ConnectionLost:
                continue

    printing = threading.Thread(target=print_all_the_time)
    printing.start()
    try:
        for _ in range(CONNECTIONS):
            assert link.try_connect(HELLO)
            server, _ = listener.accept()
            with server:
                assert server.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
    finally:
        over.set()
        printing.join()
        listener.close()
        link.socket.close()


def received(data: bytes, chance: random.Random | None) -> list[tuple[int, int, int, bytes]] | None:
    """What a link makes of bytes, at once or cut by chance; None where it refuses them."""
    link = frames.Link("")
    link.socket.close()
    server, link.socket = socket.socketpair(socket.AF_UNIX)
    found = []
    with server, link.socket:
        while data:
            size = chance.randint(1, 40) if chance else len(data)
            server.sendall(data[:size])
            data = data[size:]
            try:
                while link.receive(socket.MSG_DONTWAIT):
                    while (frame := link.next_frame()) is not None:
                        kind, format, attempt, stream, _, begin, end = frame
                        found.append((kind, attempt, stream, bytes(link.body(format, begin, end))))
                    link.unread_cancels()
            except frames.ProtocolError:
                return None
    return found


def test_bytes_are_read_alike_however_they_come_and_none_brings_the_link_down() -> None:
    kinds = [frames.INPUT, frames.CANCEL, frames.CALL_RESULT, frames.PING, frames.STOP, 0, 255]
    for seed in range(200):
        chance = random.Random(seed)
        sent = [
            (
                chance.choice(kinds),
                chance.randrange(1 << 16),
                chance.randrange(1 << 64),
                chance.randbytes(chance.choice([8, 9, 100, 5000])),
            )
            for _ in range(chance.randint(1, 6))
        ]
        data = b"".join(
            frames.frame(kind, frames.JSON, attempt, stream, body)
            for kind, attempt, stream, body in sent
        )
        expected = [
            (kind, attempt, stream, body[8:] if kind == frames.INPUT else body)
            for kind, attempt, stream, body in sent
        ]
        assert received(data, None) == expected, seed
        assert received(data, chance) == expected, seed
        hostile = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            hostile[chance.randrange(len(hostile))] = chance.choice([0, 1, 8, 0x80, 0xFF])
        received(bytes(hostile), chance)


def test_a_frame_longer_than_any_is_refused_before_it_comes() -> None:
    assert received(struct.pack("<IBBHQ", 1 << 31, frames.INPUT, 0, 0, 0), None) is None
