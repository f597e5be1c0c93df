"""`ember dev`: an app that follows its file."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conftest import Server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

SHOP = """import ember
import prices

app = ember.App("shop")


@app.function()
def ask(what: str) -> str:
    print(f"asked for {what}")
    return f"{what}: {prices.OF[what]}"
"""


@contextmanager
def working_on(server: Server, directory: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The command on an app of two files; it has told that its first version serves."""
    file = directory / "shop.py"
    file.write_text(SHOP)
    (directory / "prices.py").write_text("OF = {'tea': 3}\n")
    with server.start("dev", file) as process:
        read_until(process, "version 1 serves")
        yield file, process


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What the command says next, up to the line with the words."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended without {words!r}: {said}")


def ask(server: Server) -> str:
    return server.cli("call", "shop-dev.ask", "tea").stdout


def test_each_save_of_the_file_or_of_what_it_imports_is_a_new_version(
    own_server: Server, tmp_path: Path
) -> None:
    with working_on(own_server, tmp_path) as (file, process):
        assert ask(own_server) == '"tea: 3"\n'
        file.write_text(SHOP.replace("{what}: ", "{what} costs "))
        read_until(process, "version 2 serves")
        assert ask(own_server) == '"tea costs 3"\n'
        (tmp_path / "prices.py").write_text("OF = {'tea': 4}\n")
        read_until(process, "version 3 serves")
        assert ask(own_server) == '"tea costs 4"\n'


def test_a_broken_save_is_told_and_the_version_before_it_serves_on(
    own_server: Server, tmp_path: Path
) -> None:
    with working_on(own_server, tmp_path) as (file, process):
        file.write_text(SHOP + "\nx = (\n")
        said = read_until(process, "waiting for the next save")
        assert "SyntaxError: '(' was never closed" in said
        assert ask(own_server) == '"tea: 3"\n'
        file.write_text(SHOP.replace("{what}: ", "only "))
        read_until(process, "version 2 serves")
        assert ask(own_server) == '"only 3"\n'


def test_what_changes_no_source_makes_no_version(own_server: Server, tmp_path: Path) -> None:
    with working_on(own_server, tmp_path) as (file, process):
        (tmp_path / "notes.txt").write_text("data beside a script stays behind\n")
        file.write_text(SHOP)  # saved as it was
        file.write_text(SHOP + "\n")
        said = read_until(process, "serves")
        assert "version 2 serves" in said
        assert said.count("serves") == 1


def test_its_logs_are_shown_and_the_end_takes_the_app_away(
    own_server: Server, tmp_path: Path
) -> None:
    with working_on(own_server, tmp_path) as (_, process):
        assert process.stdout is not None
        ask(own_server)
        assert "ask asked for tea" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "app shop-dev is stopped" in err
    apps = own_server.http("GET", "/api/v1/apps").document["apps"]
    assert [(app["name"], app["state"]) for app in apps] == [("shop-dev", "stopped")]


def test_a_deployed_app_is_not_touched(own_server: Server, tmp_path: Path) -> None:
    with working_on(own_server, tmp_path) as (file, _):
        own_server.cli("deploy", file)
        file.write_text(SHOP.replace("{what}: ", "new "))
    assert own_server.result("shop", "ask", what="tea") == "tea: 3"


def test_a_file_that_is_not_there_is_told_at_once(own_server: Server, tmp_path: Path) -> None:
    done = own_server.cli("dev", tmp_path / "none.py", status=2)
    assert "is not there" in done.stderr
