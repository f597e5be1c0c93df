"""Logs of containers that write more than anyone reads, beside others that must not notice."""

from __future__ import annotations

import json
import subprocess
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import wait_until
from neighbour import Neighbour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

APP = "chatty"
LINE_BYTES = 100
FILE_BYTES = 16 << 20  # of one container


@pytest.fixture(scope="module")
def chatty(server: Server) -> Iterator[Server]:
    server.deploy("chatty.py")
    yield server
    server.cli("app", "stop", APP)


def container_of(server: Server, function: str) -> dict[str, Any]:
    return next(row for row in server.containers(APP) if row["function"] == function)


def files_of(server: Server, container: str) -> list[Path]:
    return sorted((server.data / "serve" / "logs" / APP).glob(f"{container}.log*"))


def kept_in_files(server: Server, container: str) -> int:
    """Whole lines of the flood that the files have; the last may be on its way to them."""
    count = 0
    for file in files_of(server, container):
        *documents, _on_its_way = file.read_bytes().split(b"\n")
        for document in map(json.loads, documents):
            if document["stream"] != "system":
                count += sum(len(text) == LINE_BYTES - 1 for text in document["text"].split("\n"))
    return count


def is_quiet(server: Server, container: str) -> bool:
    """Whether nothing more is on its way to the files."""
    sizes = [file.stat().st_size for file in files_of(server, container)]
    threading.Event().wait(0.5)
    return sizes == [file.stat().st_size for file in files_of(server, container)]


# Prints may be so slow that the budget has it all; blocks never are.
@pytest.mark.parametrize(
    ("function", "megabytes", "dropped"), [("prints", 10, 0), ("writes", 30, 1)]
)
def test_a_flood_harms_nobody_and_every_line_is_kept_or_counted(
    chatty: Server, function: str, megabytes: int, dropped: int
) -> None:
    with Neighbour(chatty, APP):
        written = chatty.result(APP, function, megabytes=megabytes)
        container = container_of(chatty, function)["container_id"]
        # The runner's budget lets the last lines go within a second.
        wait_until(
            "all lines are kept or counted",
            lambda: (
                kept_in_files(chatty, container)
                + container_of(chatty, function)["log_lines_dropped"]
                == written
            ),
        )
    row = container_of(chatty, function)
    assert dropped <= row["log_lines_dropped"] < written
    assert row["log_bytes_dropped"] == LINE_BYTES * row["log_lines_dropped"]
    metrics = chatty_metrics(chatty)
    assert metrics[f'{{app="{APP}",faas_name="{function}"}}'] >= row["log_lines_dropped"]


def chatty_metrics(server: Server) -> dict[str, float]:
    import urllib.request

    request = urllib.request.Request(
        f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.key}"}
    )
    with urllib.request.urlopen(request) as answer:
        text = answer.read().decode()
    name = "ember_log_lines_dropped_total"
    return {
        line.removeprefix(name).split(" ")[0]: float(line.split(" ")[1])
        for line in text.splitlines()
        if line.startswith(name)
    }


def test_a_gap_is_shown_where_it_is_with_the_call_that_wrote_there(chatty: Server) -> None:
    answer = chatty.call(APP, "writes", megabytes=30)
    call_id = answer.headers["ember-call-id"]

    def gaps() -> list[dict[str, Any]]:
        words = ("logs", APP, "--call", call_id, "--last", "10000", "--json")
        documents = map(json.loads, chatty.cli(*words).stdout.splitlines())
        return [document for document in documents if "log_lines_dropped" in document]

    wait_until("the gap is told", gaps)
    for gap in gaps():
        assert gap["stream"] == "system"
        assert gap["text"].startswith("… ")
        assert gap["text"].endswith(" dropped")
        assert gap["log_bytes_dropped"] == LINE_BYTES * gap["log_lines_dropped"]


def test_a_child_that_never_stops_is_bounded(chatty: Server) -> None:
    with Neighbour(chatty, APP):
        chatty.result(APP, "has_a_child", seconds=3)
    row = container_of(chatty, "has_a_child")
    wait_until("it is quiet", lambda: is_quiet(chatty, row["container_id"]))
    assert container_of(chatty, "has_a_child")["log_lines_dropped"] > 0
    assert sum(file.stat().st_size for file in files_of(chatty, row["container_id"])) <= FILE_BYTES


@pytest.mark.parametrize("small", [True, False])
def test_frames_beyond_any_budget_make_their_own_container_wait(
    chatty: Server, small: bool
) -> None:
    with Neighbour(chatty, APP) as neighbour:
        sent = chatty.result(APP, "speaks_frames", seconds=3, small=small)
        assert neighbour.failure is None
    # The burst, what the time allowed, and what was on its way: far below what a socket takes.
    assert sent < 80 << 20
    row = container_of(chatty, "speaks_frames")
    wait_until("it is quiet", lambda: is_quiet(chatty, row["container_id"]))
    assert sum(file.stat().st_size for file in files_of(chatty, row["container_id"])) <= FILE_BYTES


def test_a_calls_lines_are_found_when_memory_has_forgotten_them(own_server: Server) -> None:
    own_server.deploy("chatty.py")
    call_id = own_server.call(APP, "says", text="remember me").headers["ember-call-id"]
    own_server.result(APP, "writes", megabytes=8)

    def found() -> str:
        return own_server.cli("logs", APP, "--call", call_id).stdout

    assert found().endswith("says remember me\n")
    own_server.cli("down", "--now")
    own_server.up()
    assert found().endswith("says remember me\n"), "nor is it forgotten by a restart"


def test_lines_are_searched_and_bounded_in_time(chatty: Server) -> None:
    first, second = (
        chatty.call(APP, "says", text=text).headers["ember-call-id"]
        for text in ("a Needle in hay", "only hay")
    )

    def texts(*words: str) -> list[str]:
        lines = chatty.cli("logs", APP, *words, "--json").stdout.splitlines()
        return [json.loads(line)["text"] for line in lines]

    wait_until("both are there", lambda: texts("--call", second) != [])
    assert texts("--search", "NEEDLE") == ["a Needle in hay"]
    assert texts("--search", "needle", "--call", second) == []
    assert texts("--search", "hay", "--last", "1", "--function", "says") == ["only hay"]
    (line,) = map(
        json.loads, chatty.cli("logs", APP, "--call", first, "--json").stdout.splitlines()
    )
    at = datetime.fromtimestamp(line["at_ms"] / 1000, timezone.utc).isoformat()
    assert "a Needle in hay" in texts("--since", at)
    assert texts("--search", "needle", "--until", at) == ["a Needle in hay"]
    assert texts("--since", "2100-01-01") == []
    assert texts("--until", "2000-01-01") == []
    assert "is no time" in chatty.cli("logs", APP, "--since", "noon", status=2).stderr
    assert "--until" in chatty.cli("logs", APP, "-f", "--until", "1m", status=2).stderr


def test_lines_that_are_followed_are_those_that_were_searched_for(chatty: Server) -> None:
    command = chatty.command("logs", APP, "-f", "--last", "0", "--search", "Marked", "--json")
    with subprocess.Popen(
        command, env=chatty.environment, stdout=subprocess.PIPE, text=True
    ) as follower:
        output = follower.stdout
        assert output is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(output.readline()))
        reader.start()
        count = 0
        while reader.is_alive():  # the follower may come after the first of them
            chatty.result(APP, "says", text="not this one")
            chatty.result(APP, "says", text=f"marked {count}")
            count += 1
        follower.terminate()
    assert json.loads(lines[0])["text"].startswith("marked ")


def test_odd_text_is_shown_sensibly(chatty: Server) -> None:
    call_id = chatty.call(APP, "shows_progress").headers["ember-call-id"]

    def lines() -> list[str]:
        words = ("logs", APP, "--call", call_id, "--last", "10000")
        return [line.split(" ", 2)[2] for line in chatty.cli(*words).stdout.splitlines()]

    wait_until("the end is there", lambda: lines()[-1:] == ["half a line"])
    shown = lines()
    assert "odd \ufffd\ufffd bytes" in shown
    assert "100%|####" in shown
    assert "red nul \\u0000" in shown
    assert max(map(len, shown)) <= 32 << 10
