"""Everything that can be looked at: JSON that parses, tables that fit, logs, the bill."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY, wait_until

if TYPE_CHECKING:
    from conftest import Server

LISTS = (
    ("status",), ("app", "list"), ("app", "history", "basics"), ("function", "list"),
    ("function", "list", "basics"), ("container", "list"), ("node", "list"), ("call", "list"),
    ("cost",), ("cost", "--by", "function"), ("cost", "--by", "day,meter,phase"),
    ("prices", "list"), ("version",),
)  # fmt: skip


@pytest.fixture
def used(server: Server, basics: str) -> Server:
    """A server that has served something of each kind."""
    server.result(basics, "add", a=1)
    server.result(basics, "on_gpu")
    return server


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_list_is_a_document_or_a_table_that_fits(used: Server, words: tuple[str, ...]) -> None:
    assert json.loads(used.cli(*words, "--json").stdout)
    table = used.cli(*words, NO_COLOR="", COLUMNS="80").stdout
    assert table.strip()
    assert [line for line in table.splitlines() if len(line) > 80] == []


def test_simulated_devices_are_marked_wherever_they_show(used: Server) -> None:
    for words in (("status",), ("node", "list"), ("container", "list")):
        assert "simulated" in used.cli(*words).stdout


def test_a_call_shows_its_phases_and_its_price(used: Server, basics: str) -> None:
    call_id = used.call(basics, "on_gpu").headers["ember-call-id"]
    document = used.json("call", "show", call_id)
    assert document["state"] == "succeeded"
    assert set(document["phases_ms"]) == {"queue", "boot", "load", "execute"}
    start = document["start_us"]
    if document["cold"]:
        assert min(start[step] for step in ("sandbox", "interpreter", "imports", "load")) > 0
        boot_us = start["sandbox"] + start["interpreter"] + start["imports"]
        assert boot_us // 1000 == document["phases_ms"]["boot"]
    assert Decimal(document["cost"]["cost_usd"]) > 0
    offers = [Decimal(offer["usd"]) for offer in document["cost"]["elsewhere"]]
    assert offers == sorted(offers) and offers
    assert all(offer["source"] for offer in document["cost"]["elsewhere"])
    assert call_id in used.cli("call", "show", call_id).stdout


def test_the_bill_sums_to_the_same_however_it_is_cut(used: Server) -> None:
    """An app that has ended, so that its bill grows no more between two looks."""
    used.deploy("short_lived.py")
    used.result("short-lived", "f")
    wait_until("scaled to zero", lambda: used.containers("short-lived") == [])
    cuts = ("app", "function", "day", "phase", "meter", "app,function,day,phase,meter")

    def bills() -> list[dict]:
        return [used.json("cost", "--app", "short-lived", "--by", cut) for cut in cuts]

    wait_until("the last usage is billed", lambda: _totals(bills()) == _totals(bills()))
    totals = _totals(bills())
    assert len(totals) == 1 and totals.pop() > 0
    for bill in bills():
        assert sum(Decimal(row["usd"]) for row in bill["rows"]) == Decimal(bill["total_usd"])
    assert all(row["simulated"] for row in bills()[4]["rows"] if row["meter"] == "gpu")


def _totals(bills: list[dict]) -> set[Decimal]:
    return {Decimal(bill["total_usd"]) for bill in bills}


def test_logs_are_tagged_with_the_function_and_can_be_filtered(used: Server, basics: str) -> None:
    call_id = used.call(basics, "shout", text="a unique text").headers["ember-call-id"]
    lines = used.cli("logs", basics, "--call", call_id).stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "shout out a unique text", "shout err a unique text",
    ]  # fmt: skip
    documents = [
        json.loads(line)
        for line in used.cli("logs", basics, "--call", call_id, "--json").stdout.splitlines()
    ]
    assert [document["stream"] for document in documents] == ["stdout", "stderr"]
    assert {document["call_id"] for document in documents} == {call_id}
    assert "unique" not in used.cli("logs", basics, "--function", "add").stdout


def test_followed_logs_go_on_with_new_lines(used: Server, basics: str) -> None:
    used.result(basics, "shout", text="before")
    with used.start("logs", "-f", basics, "--function", "shout", "--last", "2") as process:
        assert process.stdout is not None
        assert "out before" in process.stdout.readline()
        assert "err before" in process.stdout.readline()
        used.result(basics, "shout", text="after")
        assert "out after" in process.stdout.readline()


def test_metrics_and_health_answer(used: Server) -> None:
    assert used.http("GET", "/healthz", Authorization=None).document == {"status": "ok"}
    assert used.http("GET", "/api/openapi.json", Authorization=None).document["openapi"] >= "3.1"


def test_answers_are_what_the_openapi_document_says(used: Server) -> None:
    """tests/conformance asks any server; here it is this one, once there is something to list."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         REPOSITORY / "tests" / "conformance"],
        env={**used.environment, "EMBER_URL": used.url, "EMBER_KEY": used.key},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
