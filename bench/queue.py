"""Durable calls: how many are accepted a second, what a million that wait cost, and how soon after a kill all is ready.

`accepts_per_s`: POST ?mode=async of a small body by 512 connections (wrk), each answered once it is on disk. `end_to_end_p50_ms`: from a
spawn to its result by a long poll, on a warm container, one after the other. `backlog_rss_mb`: `serve` with 1,000,000 waiting.
`ready_after_kill_ms`: from the kill -9 of that `serve`, by way of `ember up`, to an answer of /healthz. `lost_after_kill`: those that
are not there any more.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import common

APP = """import time
import ember

app = ember.App("bench-queue")


@app.function(max_containers=1, queue_limit=1_000_000, timeout=86400)
def hold(n: int = 0) -> None:
    time.sleep(3600)


@app.function(min_containers=1)
def echo(n: int = 0) -> int:
    return n
"""
SCRIPT = """wrk.method = "POST"
wrk.body = '{"n": 1}'
wrk.headers["Authorization"] = "Bearer " .. os.getenv("EMBER_BENCH_KEY")
wrk.headers["Content-Type"] = "application/json"
"""
LIMIT = 1_000_000


class Ember:
    """The server under test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.address = f"127.0.0.1:{common.free_port()}"
        self.environment = {**os.environ, "EMBER_DATA": str(data)}

    def cli(self, *words: str | Path) -> None:
        command = [str(common.EMBER), *map(str, words)]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def up(self) -> None:
        self.cli("up", "--listen", self.address, "--workspace-queue-limit", str(2 * LIMIT))

    @property
    def key(self) -> str:
        return (self.data / "key").read_text().strip()

    @property
    def pid(self) -> int:
        return int((self.data / "serve.pid").read_text())

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found
        return int(found[1]) / 1024

    def ask(self, connection: http.client.HTTPConnection, method: str, path: str) -> Any:
        connection.request(method, path, "{}", {"Authorization": f"Bearer {self.key}"})
        answer = connection.getresponse()
        said = answer.read()
        return json.loads(said) if answer.status < 300 else sys.exit(said.decode())

    def waiting(self) -> int:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=60)) as connection:
            app = self.ask(connection, "GET", "/api/v1/apps/bench-queue")
        held = next(one for one in app["functions"] if one["name"] == "hold")
        return held["waiting"] + held["running"]


def fill(ember: Ember, folder: Path) -> float:
    """Until the queue is full; accepted a second, while there was room."""
    script = folder / "post.lua"
    script.write_text(SCRIPT)
    url = f"http://{ember.address}/fn/bench-queue/hold?mode=async"
    command = ["wrk", "-t1", "-c512", "-d10", "-s", str(script), url]
    environment = {**ember.environment, "EMBER_BENCH_KEY": ember.key}
    rates: list[float] = []
    while ember.waiting() < LIMIT:
        said = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate, said
        if "Non-2xx" not in said:
            rates.append(float(rate[1]))
            common.say(f"  {rates[-1]:,.0f} a second, {ember.waiting():,} wait")
    return statistics.median(rates)


def end_to_end_ms(ember: Ember, rounds: int) -> float:
    """From a spawn to its result."""
    took_ms: list[float] = []
    with contextlib.closing(http.client.HTTPConnection(ember.address, timeout=60)) as connection:
        for _ in range(rounds + 10):
            began_s = time.perf_counter()
            call = ember.ask(connection, "POST", "/fn/bench-queue/echo?mode=async")["call_id"]
            ember.ask(connection, "GET", f"/api/v1/calls/{call}/result?wait_ms=30000")
            took_ms.append(1e3 * (time.perf_counter() - began_s))
    return statistics.median(took_ms[10:])


def ready_after_kill_ms(ember: Ember) -> float:
    """From the kill to health, over `ember up`."""
    began_s = time.perf_counter()
    os.kill(ember.pid, signal.SIGKILL)
    ember.up()
    with contextlib.closing(http.client.HTTPConnection(ember.address, timeout=60)) as connection:
        ember.ask(connection, "GET", "/healthz")
    return 1e3 * (time.perf_counter() - began_s)


def main() -> None:
    """Measure, and write the figures."""
    options = common.options(__doc__, rounds=200)
    common.need_programs("wrk")
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp"))
        )
        folder.chmod(0o755)
        ember = Ember(folder / "data")
        stack.callback(ember.cli, "down", "--now")
        ember.up()
        app = folder / "app" / "queue.py"
        app.parent.mkdir()
        app.write_text(APP)
        ember.cli("deploy", app)
        common.say("one after the other")
        echo_ms = end_to_end_ms(ember, options.rounds)
        common.say("filling the queue")
        rate = fill(ember, folder)
        before, rss_mb = ember.waiting(), ember.rss_mb()
        ready_ms = ready_after_kill_ms(ember)
        figures = {
            "accepts_per_s": rate,
            "end_to_end_p50_ms": echo_ms,
            "backlog": before,
            "backlog_rss_mb": rss_mb,
            "ready_after_kill_ms": ready_ms,
            "lost_after_kill": before - ember.waiting(),
        }
        common.write("queue", figures, {}, {})


if __name__ == "__main__":
    main()
