"""Secrets reach user code before its module is loaded, and leave nothing lying about."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from conftest import RunnerProcess

from ember.runner import _frames as frames

CANARY = "canary-5b1e0a"

# Looks while it is loaded.
READER = """
import os, resource
FOUND = os.environ.get("TOKEN")
base = os.environ["EMBER_SECRETS"]
FILES = {
    name: (open(os.path.join(at, name)).read(), oct(os.stat(os.path.join(at, name)).st_mode))
    for at, _, names in os.walk(base) for name in names
}

@app.function()
def f():
    mode = oct(os.stat(base).st_mode) if os.path.exists(base) else None
    return [FOUND, FILES, resource.getrlimit(resource.RLIMIT_CORE), mode]
"""


def secrets_frame(*groups: tuple[str, dict[str, str]]) -> bytes:
    body = b""
    for mount, values in groups:
        pairs = b"".join(
            struct.pack("<I", len(text)) + text
            for pair in values.items()
            for text in (part.encode() for part in pair)
        )
        body += struct.pack("<H", len(mount)) + mount.encode() + struct.pack("<I", len(pairs))
        body += pairs
    return frames.frame(frames.SECRETS, frames.NONE, 0, 0, body)


def result(runner: RunnerProcess) -> Any:
    return runner.call({}).json


def test_they_are_in_the_environment_when_the_module_is_loaded(runner: RunnerProcess) -> None:
    runner.start(READER, secrets=1)
    assert runner.hello.json["state"] == "loading"
    runner.send(secrets_frame(("", {"TOKEN": "grün\n" + CANARY})))
    found, files, core, _ = result(runner.ready())
    assert found == "grün\n" + CANARY
    assert files == {}
    assert max(core) <= 1  # neither files nor programs get a core
    assert runner.process is not None
    block = Path(f"/proc/{runner.process.pid}/environ").read_bytes()
    assert b"EMBER_RUN_DIR" in block and CANARY.encode() not in block


def test_they_are_files_for_their_user_alone(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start(READER, secrets=3)
    runner.send(
        secrets_frame(
            ("/run/secrets/db", {"PASSWORD": "old", "USER": "ada"}),
            ("/run/secrets/a/b", {"KEY": "1\r\n2"}),
            ("/run/secrets/db", {"PASSWORD": CANARY}),
        )
    )
    found, files, _, mode = result(runner.ready())
    assert found is None
    assert files == {
        "PASSWORD": [CANARY, "0o100400"], "USER": ["ada", "0o100400"], "KEY": ["1\n2", "0o100400"],
    }  # fmt: skip
    assert mode == "0o40700"
    assert (tmp_path / "secrets" / "a" / "b" / "KEY").read_bytes() == b"1\r\n2"


def test_a_later_one_holds(runner: RunnerProcess) -> None:
    runner.start(READER, secrets=2)
    runner.send(secrets_frame(("", {"TOKEN": "one"}), ("", {"TOKEN": "two"})))
    assert result(runner.ready())[0] == "two"


def test_they_are_asked_for_again_where_the_server_went_away(runner: RunnerProcess) -> None:
    runner.start(READER, secrets=1)
    runner.drop()
    assert runner.accept().json["state"] == "loading"
    frame = secrets_frame(("", {"TOKEN": CANARY}))
    runner.send(frame[:20])
    runner.drop()
    runner.accept()
    runner.send(frame)
    assert result(runner.ready())[0] == CANARY


def test_one_that_is_stopped_while_it_waits_ends(runner: RunnerProcess) -> None:
    runner.start(READER, secrets=1)
    runner.send(frames.frame(frames.PING, 0, 0, 0, b""))
    assert runner.expect(frames.PONG)
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert runner.wait() == 0


def test_another_frame_in_their_place_is_an_error_of_the_protocol(runner: RunnerProcess) -> None:
    runner.start(READER, secrets=1)
    runner.input(1)
    assert runner.wait() == 71


def test_without_any_nobody_waits(runner: RunnerProcess) -> None:
    runner.start("import os\n@app.function()\ndef f(): return 'EMBER_SECRETS' in os.environ")
    assert runner.ready().call({}).json is False
    assert "EMBER_SECRETS" not in os.environ


def test_a_large_one_comes_whole(runner: RunnerProcess) -> None:
    values = {f"K{i}": str(i) * 30_000 for i in range(10)}
    module = "import os\nK = {k: v for k, v in os.environ.items() if k[0] == 'K'}\n"
    runner.start(module + "@app.function()\ndef f(): return K", secrets=1)
    runner.send(secrets_frame(("", values)))
    assert {k: v for k, v in result(runner.ready()).items() if k in values} == values
