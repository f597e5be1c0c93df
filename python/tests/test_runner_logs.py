"""What user code writes faster than it may be sent, and what is no ordinary text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from conftest import wait_for_file

from ember.runner import _frames as frames

if TYPE_CHECKING:
    from conftest import Got, RunnerProcess

BURST_BYTES = 8 << 20


class Seen:
    """Log frames put together: the text that was kept, and what was told to be dropped."""

    def __init__(self) -> None:
        self.text = b""
        self.lines = self.bytes = self.gaps = 0
        self.inputs: set[int] = set()

    def add(self, got: Got) -> None:
        assert got.kind == frames.LOG
        if got.body[0] == 0:
            lines, size = struct.unpack("<QQ", got.body[1:])
            assert lines > 0
            assert size > 0
            self.lines += lines
            self.bytes += size
            self.gaps += 1
        else:
            self.text += got.body[1:]
        self.inputs.add(got.stream)


def seen_until_answer(runner: RunnerProcess) -> tuple[Seen, Got]:
    seen = Seen()
    while (got := runner.read()).kind == frames.LOG:
        seen.add(got)
    return seen, got


def test_what_a_burst_has_is_kept_whole_and_in_order(runner: RunnerProcess) -> None:
    runner.start("""
    @app.function()
    def f(n):
        for i in range(n):
            print("line", i)
    """).ready()
    runner.input(1, {"n": 200_000})
    seen, answer = seen_until_answer(runner)
    assert answer.kind == frames.RESULT
    assert seen.text.decode() == "".join(f"line {i}\n" for i in range(200_000))
    assert seen.lines == 0


def test_a_flood_is_dropped_in_between_and_every_line_counted(runner: RunnerProcess) -> None:
    runner.start("""
    import sys

    @app.function()
    def f(n, text):
        for i in range(n):
            print(f"{i:07}{text}")
    """).ready()
    count, text = 30_000, "x" * 992
    runner.input(1, {"n": count, "text": text})
    seen, _ = seen_until_answer(runner)
    while seen.text.count(b"\n") + seen.lines < count:
        seen.add(runner.read())  # the newest, once the budget has grown
    lines = seen.text.decode().splitlines()
    numbers = [int(line[:7]) for line in lines]
    runs = [n for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1] + 1]
    told = f"{len(lines)} kept, {seen.lines} dropped in {seen.gaps} gaps; runs from {runs}"
    assert numbers == sorted(set(numbers)), told
    assert numbers[:8000] == list(range(8000)), told
    assert numbers[-200:] == list(range(count - 200, count)), "and so is the end"
    assert len(lines) + seen.lines == count
    assert len(seen.text) + seen.bytes == 1000 * count
    assert seen.gaps > 0
    assert seen.inputs == {1}


def test_no_server_that_reads_nothing_stops_user_code(runner: RunnerProcess) -> None:
    runner.start("""
    import os, subprocess, sys

    @app.function()
    def f():
        for i in range(20_000):
            print("y" * 1000)
        for i in range(20):
            os.write(2, b"z" * 999_999 + b"\\n")
        subprocess.run(["head", "-c", "20000000", "/dev/zero"])
        open("done", "w").close()
    """).ready()
    runner.input(1)
    done = runner.directory / "done"
    wait_for_file(done)
    seen, _ = seen_until_answer(runner)
    while len(seen.text) + seen.bytes < 60_020_000:
        seen.add(runner.read())
    assert len(seen.text) + seen.bytes == 60_020_000
    assert len(seen.text) > BURST_BYTES - (32 << 10)


def test_text_travels_as_it_is_and_is_cut_between_lines(runner: RunnerProcess) -> None:
    runner.start("""
    import os, sys

    @app.function()
    def f(raw):
        if raw:
            os.write(1, b"\\xff\\x00\\xc3" + b"\\r 10%\\r 20%\\n")
            os.write(1, b"".join(b"%05d\\n" % i for i in range(20_000)))
        else:
            sys.stdout.write("\\udc80 " + "é" * 100_000 + "\\n")
            print("half", end="")
    """).ready()

    def pieces(raw: bool) -> list[bytes]:
        runner.input(1, {"raw": raw})
        found: list[bytes] = []
        while (got := runner.read()).kind == frames.LOG:
            assert len(got.body) <= 32 << 10
            found.append(got.body[1:])
        return found

    lines = pieces(raw=True)
    numbers = b"".join(b"%05d\n" % i for i in range(20_000))
    assert b"".join(lines) == b"\xff\x00\xc3\r 10%\r 20%\n" + numbers
    assert all(piece.endswith(b"\n") for piece in lines)
    characters = pieces(raw=False)
    assert "".join(map(bytes.decode, characters)) == "\\udc80 " + "é" * 100_000 + "\nhalf"


def test_a_line_without_an_end_is_shown_before_anything_follows(runner: RunnerProcess) -> None:
    runner.start("""
    import os, time

    @app.function()
    def f():
        os.write(1, b"working... ")
        while not os.path.exists("go"):
            time.sleep(0.001)
        os.write(1, b"done\\n")
    """).ready()
    runner.input(1)
    assert runner.expect(frames.LOG).log == (1, "working... ")
    (runner.directory / "go").touch()
    runner.answer(1)
    assert runner.logs() == [(1, 1, "done\n")]


def test_what_is_written_at_the_end_arrives(runner: RunnerProcess) -> None:
    runner.start("""
    import atexit, os, threading

    @app.function()
    def f():
        threading.Timer(0, print, ["of a thread"], {"end": ""}).start()
        os.write(1, b"raw and unended")
    """).ready()
    runner.call()
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    seen = "".join(text for _, _, text in runner.logs())
    try:
        while True:
            seen += runner.read().log[1]
    except ConnectionError:
        pass
    assert sorted(seen) == sorted("raw and unended" + "of a thread")


def test_lines_wait_for_a_server_that_comes_again(runner: RunnerProcess) -> None:
    runner.start("""
    import os, time

    @app.function()
    def f():
        while not os.path.exists("go"):
            time.sleep(0.001)
        print("nobody listens")
        open("printed", "w").close()
    """).ready()
    runner.input(1)
    runner.drop()
    (runner.directory / "go").touch()
    wait_for_file(runner.directory / "printed")
    runner.accept()
    assert runner.expect(frames.LOG).log == (1, "nobody listens\n")


def test_a_closed_descriptor_is_no_reason_to_spin(runner: RunnerProcess) -> None:
    runner.start("""
    import os, time

    @app.function()
    def f():
        os.close(1)
        time.sleep(0.2)
        before_s = time.process_time()
        time.sleep(0.5)
        return time.process_time() - before_s
    """).ready()
    assert runner.call().json < 0.25


def test_output_of_async_functions_precedes_their_answers(runner: RunnerProcess) -> None:
    runner.start(
        """
    import asyncio

    @app.function()
    async def f(n):
        print("before", n)
        await asyncio.sleep(0)
        print("after", n)
        return n
    """,
        is_async=True,
        max_inputs=10,
    ).ready()
    for n in range(1, 50):
        runner.input(n, {"n": n})
    for n in range(1, 50):
        runner.answer(n)
    told: dict[int, list[str]] = {}
    for _, stream, text in runner.logs():
        told.setdefault(stream, []).append(text)
    assert told == {n: [f"before {n}\n", f"after {n}\n"] for n in range(1, 50)}
