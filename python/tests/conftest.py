"""A server's end of the runner's socket, as the tests' counterpart of src/node/runner_link.h."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ember.runner import _frames as frames

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
WAIT_S = 30.0  # a bound for hangs, never a measure


class Got:
    """One frame from the runner."""

    def __init__(self, header: bytes, body: bytes) -> None:
        _, self.kind, self.format, self.attempt, self.stream = frames.HEADER.unpack(header)
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def value(self) -> Any:
        return pickle.loads(self.body) if self.format == frames.PICKLE else self.json

    @property
    def log(self) -> tuple[int, str]:
        return self.body[0], self.body[1:].decode()


class RunnerProcess:
    """A runner started on a module's text, and the socket it connects to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "runner.sock"))
        self.listener.listen()
        self.listener.settimeout(WAIT_S)
        self.connection: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.set_aside: list[Got] = []
        self.hello: Got  # of the newest connection

    def start(self, module: str, function: str = "f", **settings: Any) -> RunnerProcess:
        source = self.directory / "source"
        source.mkdir(exist_ok=True)
        (source / "user_code.py").write_text(
            "import ember\napp = ember.App('test')\n" + textwrap.dedent(module)
        )
        described = {
            "protocol": 1,
            "container_id": "ct-0000000000001",
            "app": "test",
            "function": function,
            "version": 1,
            "module": "user_code",
            "qualname": function,
            "is_async": False,
            "max_inputs": 1,
            "python_path": [],
            "source": str(source),
            **settings,
        }
        (self.directory / "function.json").write_text(json.dumps(described))
        environment = {
            **os.environ,
            "EMBER_RUN_DIR": str(self.directory),
            "PYTHONPATH": str(PACKAGE_ROOT),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from ember.runner.__main__ import main; main()"],
            env=environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.accept()
        return self

    def accept(self) -> Got:
        """The runner's next connection; its Hello."""
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(WAIT_S)
        hello = self.read()
        assert hello.kind == frames.HELLO
        self.hello = hello
        return hello

    def ready(self) -> RunnerProcess:
        assert self.expect(frames.READY).json["timeline_us"]["load"] > 0
        return self

    def read(self) -> Got:
        header = self._exactly(frames.HEADER_BYTES)
        return Got(header, self._exactly(frames.HEADER.unpack(header)[0]))

    def expect(self, *kinds: int) -> Got:
        """The next frame of these types; others are set aside."""
        while True:
            got = self.read()
            if got.kind in kinds:
                return got
            self.set_aside.append(got)

    def answer(self, stream: int) -> Got:
        """The answer to an input."""
        for i, got in enumerate(self.set_aside):
            if got.stream == stream and got.kind in (frames.RESULT, frames.ERROR):
                return self.set_aside.pop(i)
        while True:
            got = self.expect(frames.RESULT, frames.ERROR)
            if got.stream == stream:
                return got
            self.set_aside.append(got)

    def _exactly(self, size: int) -> bytes:
        assert self.connection is not None
        data = bytearray()
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                raise ConnectionError(f"the runner hung up: {self.last_words()}")
            data += piece
        return bytes(data)

    def last_words(self) -> str:
        """Where the process has ended: its status and what it wrote outside of frames."""
        assert self.process is not None
        _, stderr = self.process.communicate(timeout=WAIT_S)
        return f"status {self.process.returncode}\n{stderr.decode()}"

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)

    def input(self, stream: int, arguments: Any = None, **options: Any) -> None:
        self.send(input_frame(stream, arguments, **options))

    def cancel(self, stream: int, attempt: int = 1) -> None:
        assert self.process is not None
        self.send(frames.frame(frames.CANCEL, 0, attempt, stream, b""))
        self.process.send_signal(signal.SIGUSR1)

    def call(self, arguments: Any = None, **options: Any) -> Got:
        self.input(1, arguments, **options)
        return self.answer(1)

    def logs(self) -> list[tuple[int, int, str]]:
        """(stream, input, text) of the Log frames set aside so far."""
        return [(g.log[0], g.stream, g.log[1]) for g in self.set_aside if g.kind == frames.LOG]

    def drop(self) -> None:
        assert self.connection is not None
        self.connection.close()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()
        if self.connection is not None:
            self.connection.close()
        self.listener.close()


def input_frame(
    stream: int,
    arguments: Any = None,
    *,
    raw: bytes | None = None,
    args: tuple[Any, ...] | None = None,
    attempt: int = 1,
    call_id: int = 7,
    method: int = 0,
) -> bytes:
    """An Input of JSON arguments, of pickled ones (args=), or of raw bytes said to be JSON."""
    if raw is not None:
        format, body = frames.JSON, raw
    elif args is not None:
        format, body = frames.PICKLE, pickle.dumps((args, arguments or {}), 5)
    else:
        format, body = frames.JSON, json.dumps(arguments or {}).encode()
    format |= method << frames.METHOD_SHIFT
    return frames.frame(frames.INPUT, format, attempt, stream, call_id.to_bytes(8, "little") + body)


def wait_for_file(path: Path) -> None:
    """Until user code has made the file: how it says that it runs."""
    deadline_s = time.monotonic() + WAIT_S
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} never came"
        time.sleep(0.005)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    process = RunnerProcess(tmp_path)
    yield process
    process.close()
