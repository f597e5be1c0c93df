"""The example of a language model: its tokens leave one by one, for `curl -N` and for a browser.

The packages come from the package index; without it there is nothing to test, and the test says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from browser import running_browser
from conftest import REPOSITORY, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

EXAMPLE = REPOSITORY / "examples" / "chat_tokens.py"
QUESTION = "Write a long story about a lighthouse keeper."


@pytest.fixture(scope="module")
def chat(server: Server) -> Iterator[Server]:
    server.cli("deploy", EXAMPLE)
    yield server
    server.cli("app", "stop", "chat-tokens")


def calls(server: Server, state: str) -> list[dict[str, Any]]:
    rows = server.http("GET", "/api/v1/calls?app=chat-tokens&limit=1000").document["calls"]
    return [row for row in rows if row["state"] == state]


class Curl:
    """`curl -N`, whose output is taken as it comes."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(["curl", "-sN", *words], stdout=subprocess.PIPE)

    def read(self) -> bytes:
        """What has come since, at least a byte; nothing at the end."""
        assert self.process.stdout is not None
        return os.read(self.process.stdout.fileno(), 1 << 16)

    def leave(self) -> None:
        self.process.kill()
        self.process.communicate()


def ask(server: Server, *words: str) -> Curl:
    body = json.dumps({"question": QUESTION, "max_tokens": 80})
    url = f"{server.url}/fn/chat-tokens/Chat.answer"
    return Curl(url, "-H", f"Authorization: Bearer {server.key}", "-d", body, *words)


def test_curl_shows_tokens_one_by_one(chat: Server) -> None:
    curl = ask(chat)
    reads = [curl.read()]
    assert calls(chat, "running"), "its first token has come, and the rest is not made yet"
    while piece := curl.read():
        reads.append(piece)
    assert curl.process.wait() == 0
    tokens = [json.loads(line) for line in b"".join(reads).splitlines()]
    assert len(tokens) == 80
    assert len(reads) > 20, "they came one by one, or a few at a time where curl was slow to read"
    assert "lighthouse" in "".join(tokens)


def test_who_leaves_ends_the_answer(chat: Server) -> None:
    curl = ask(chat, "-H", "Accept: text/event-stream")
    events = b""
    while b"\n\ndata: " not in b"\n\n" + events:  # an item: what else comes has a name
        events += curl.read()
    curl.leave()
    wait_until("it is cancelled", lambda: calls(chat, "cancelled"))
    assert not calls(chat, "running")


def test_what_the_engine_refuses_is_the_caller_s_error(chat: Server) -> None:
    answer = chat.http(
        "POST", "/fn/chat-tokens/Chat.answer", {"question": "word " * 3000},
        Accept="application/x-ndjson",
    )  # fmt: skip
    assert "exceeds the available context size" in json.dumps(answer.document), answer


def test_the_example_runs_as_it_says(chat: Server) -> None:
    assert "light" in chat.cli("run", EXAMPLE, "What is a lighthouse?").stdout


def test_a_browser_shows_tokens_one_by_one(chat: Server, tmp_path: Path) -> None:
    port = chat.json("status")["web_url"].rpartition(":")[2]
    with running_browser() as browser:
        browser.open(f"http://chat-tokens.localhost:{port}/")
        browser.run(f"""
            window.shown = [];
            form.question.value = {json.dumps(QUESTION)};
            new MutationObserver(() => place.textContent && shown.push(place.textContent))
                .observe(place, {{childList: true}});
            window.until = (holds) => new Promise((resolve) => {{
                const look = () => holds() ? resolve(place.textContent) : setTimeout(look, 5);
                look();
            }});
            button.click();
        """)
        early = browser.run("until(() => shown.length >= 3)")
        assert calls(chat, "running"), "tokens are shown while the model makes more"
        browser.run("until(() => shown.length >= 40)")
        browser.screenshot(tmp_path / "while_it_answers.png")
        whole = browser.run("until(() => !place.classList.contains('open'))")
        browser.screenshot(tmp_path / "page.png")
        shown = browser.run("shown")
        assert "tokens in" in browser.run("told.textContent")
    assert len(shown) > 80
    assert all(after.startswith(before) for before, after in zip(shown, shown[1:]))
    assert whole.startswith(early) and len(whole) > len(early)
    assert (tmp_path / "page.png").stat().st_size > 10_000
