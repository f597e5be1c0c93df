"""Functions that the server runs by itself: each tick one call, through kills too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, REPOSITORY, Server, kill, wait_until

if TYPE_CHECKING:
    from pathlib import Path

NEVER = """
import ember
app = ember.App("never")

@app.function(schedule=ember.Cron("0 0 31 2 *"))
def run() -> None:
    pass
"""


def schedule(server: Server, name: str) -> dict[str, Any]:
    listed = server.json("schedule", "list")["schedules"]
    (found,) = (one for one in listed if f"{one['app']}.{one['function']}" == name)
    return found


def ended_calls(server: Server, function: str) -> list[str]:
    """The calls of a function of `ticks` that have ended, and all must have done so well."""
    path = "/api/v1/calls?app=ticks&limit=1000&state="
    assert server.http("GET", f"{path}dead").document == {"calls": []}
    calls = server.http("GET", f"{path}succeeded").document["calls"]
    return [call["call_id"] for call in calls if call["function"] == function]


def wait_for_ticks(server: Server, name: str, more: int) -> None:
    """Waits until so many ticks more have been run."""
    for _ in range(more):
        last = schedule(server, name)["last_call_id"]
        wait_until("a tick", lambda before=last: schedule(server, name)["last_call_id"] != before)


@pytest.fixture
def ticks(own_server: Server) -> Server:
    own_server.cli("deploy", APPS / "ticks.py")
    return own_server


def test_each_tick_is_one_call_through_kills(ticks: Server) -> None:
    for _ in range(3):
        wait_for_ticks(ticks, "ticks.often", 2)
        kill(ticks, "serve")
        ticks.up()
    wait_for_ticks(ticks, "ticks.often", 1)
    ticks.cli("schedule", "pause", "ticks.often")
    wait_until("the last call ends", lambda: not is_live(ticks, "ticks.often"))
    shown = schedule(ticks, "ticks.often")
    (version,) = ticks.json("app", "history", "ticks")["versions"]
    ticks_passed, rest_ms = divmod(shown["last_tick_ms"] - version["created_ms"], 1000)
    assert rest_ms == 0, "they count from the deploy"
    wait_until(
        "all calls end",
        lambda: len(ended_calls(ticks, "often")) == ticks_passed - shown["missed_ticks"],
    )
    assert shown["last_call_id"] in ended_calls(ticks, "often")
    assert shown["skipped"] == 0


def is_live(server: Server, name: str) -> bool:
    return schedule(server, name)["last_call_state"] in ("waiting", "running")


def test_a_paused_schedule_runs_nothing_until_it_is_resumed(ticks: Server) -> None:
    wait_for_ticks(ticks, "ticks.often", 1)
    assert ticks.json("schedule", "pause", "ticks.often")["paused"] is True
    wait_until("its calls end", lambda: not is_live(ticks, "ticks.often"))
    before = schedule(ticks, "ticks.often")
    wait_for_ticks(ticks, "ticks.beside", 2)
    kill(ticks, "serve")
    ticks.up()
    wait_for_ticks(ticks, "ticks.beside", 2)
    after = schedule(ticks, "ticks.often")
    assert (after["last_call_id"], after["next_tick_ms"]) == (before["last_call_id"], None)
    assert "resumed" not in ticks.cli("schedule", "resume", "ticks.often").stderr
    wait_for_ticks(ticks, "ticks.often", 1)


def test_a_stopped_app_has_no_ticks(ticks: Server) -> None:
    wait_for_ticks(ticks, "ticks.often", 1)
    ticks.cli("app", "stop", "ticks")
    assert ticks.json("schedule", "list")["schedules"] == []
    assert "no schedules" in ticks.cli("schedule", "list").stderr


def test_a_schedule_is_listed_and_run_by_hand(ticks: Server) -> None:
    shown = schedule(ticks, "ticks.yearly")
    assert shown["text"] == "0 6 1 1 * Europe/Berlin"
    assert (shown["cron"], shown["timezone"]) == ("0 6 1 1 *", "Europe/Berlin")
    assert "0 6 1 1 * Europe/Berlin" in ticks.cli("schedule", "list").stdout
    call = ticks.cli("schedule", "run", "ticks.yearly").stdout.strip()
    assert ticks.cli("call", "result", call, "--wait").stdout == '"a year has passed"\n'
    assert schedule(ticks, "ticks.yearly")["last_call_id"] is None, "that was no tick"


def test_what_has_no_schedule_is_named(ticks: Server) -> None:
    for words in (("ticks.nothing",), ("nothing.often",), ("nothing",)):
        refused = ticks.cli("schedule", "run", *words, status=2)
        assert "next:" in refused.stderr or "`ember" in refused.stderr


def test_a_schedule_that_can_never_run_is_refused(ticks: Server, tmp_path: Path) -> None:
    (tmp_path / "never.py").write_text(NEVER)
    refused = ticks.cli("deploy", tmp_path / "never.py", status=2)
    assert 'cron "0 0 31 2 *": it can never fire' in refused.stderr


def test_the_example_writes_its_report(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", REPOSITORY / "examples" / "nightly_report.py")
    assert schedule(server, "nightly-report.report")["text"] == "0 6 * * * Europe/Berlin"
    call = server.cli("schedule", "run", "nightly-report.report").stdout.strip()
    report = server.cli("call", "result", call, "--wait").stdout
    assert "3 orders, 64.50 EUR" in report
