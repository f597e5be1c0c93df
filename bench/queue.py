"""Durable calls: accepts and round trips beside Celery and RQ, a million that wait, and how soon a kill is over.

`accepted_vs_best_peer`: calls that are answered once they are on disk, each by a call of its own, from equally many
connections on loopback TCP. Ember: POST ?mode=async of a small body, from wrk; the answer comes after the commit of the
journal that holds the call. Celery and RQ: `apply_async` without a result and `enqueue`, from their own clients, a thread
for each connection, in as many processes as were fastest in a trial; Redis answers after the fdatasync of its append-only
file (`appendfsync always`, no snapshots, no rewrites). All three make many calls durable by one fdatasync; perf counts them
in every round (`accepts_per_sync`, `end_to_end_syncs`). No worker takes jobs meanwhile.

`end_to_end_p50_ms`: from a call to its result, one after the other, on one warm container or worker. Ember: a spawn and a
long poll. Celery: a `solo` worker without gossip, mingle and heartbeat that acknowledges late. RQ: a SimpleWorker, which
does not fork for each job.

`accepts_per_s`: while a million is filled up. `backlog_rss_mb`: `serve` with them waiting. `ready_after_kill_ms`: from the
kill -9 of that `serve`, by way of `ember up`, to an answer of /healthz. `lost_after_kill`: those that are not there any
more. A peer that does not install, start or answer is left out, with its error in the JSON.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import common

SIDES = Path(__file__).resolve().parent / "queue_sides"
PEERS = {
    "celery": ["celery[redis]==5.7.0", "hiredis==3.5.0", "redis==8.1.0"],
    "rq": ["rq==3.0.0", "hiredis==3.5.0", "redis==8.1.0"],
}
WORKERS = {
    "celery": "celery -A celery_app worker --pool solo --concurrency 1 --loglevel error "
    "--without-gossip --without-mingle --without-heartbeat",
    "rq": "rq worker bench --worker-class rq.SimpleWorker --quiet --url redis://127.0.0.1:{port}/2",
}
REDIS = [
    "redis-server", "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always",
    "--save", "", "--auto-aof-rewrite-percentage", "0",
]  # fmt: skip
APP = """import time
import ember

app = ember.App("bench-queue")


@app.function(max_containers=1, queue_limit=LIMIT, timeout=86400)
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
SYNCS = ("syscalls:sys_enter_fdatasync", "syscalls:sys_enter_fsync")
ROUND_LIMIT = 1_000_000  # the most that may wait for a function


class Ember:
    """The server under test."""

    def __init__(self, data: Path, limit: int) -> None:
        self.data = data
        self.limit = limit
        self.address = f"127.0.0.1:{common.free_port()}"
        self.environment = {**os.environ, "EMBER_DATA": str(data)}

    def cli(self, *words: str | Path) -> None:
        command = [str(common.EMBER), *map(str, words)]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def up(self) -> None:
        self.cli("up", "--listen", self.address, "--workspace-queue-limit", str(2 * self.limit))

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


@contextlib.contextmanager
def running_ember(folder: Path, limit: int) -> Iterator[Ember]:
    """Ember with a function of which so many calls may wait."""
    ember = Ember(folder / "data", limit)
    app = folder / "app" / "queue.py"
    app.parent.mkdir(parents=True)
    folder.chmod(0o755)
    app.write_text(APP.replace("LIMIT", str(limit)))
    try:
        ember.up()
        ember.cli("deploy", app)
        yield ember
    finally:
        ember.cli("down", "--now")


def load(ember: Ember, connections: int, seconds: int) -> tuple[float, int, bool]:
    """Calls from wrk for a time: accepted a second, answered, and whether all were accepted."""
    script = ember.data.parent / "post.lua"
    script.write_text(SCRIPT)
    url = f"http://{ember.address}/fn/bench-queue/hold?mode=async"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script), url]
    environment = {**ember.environment, "EMBER_BENCH_KEY": ember.key}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    assert rate and total, done.stdout
    return float(rate[1]), int(total[1]), "Non-2xx" not in done.stdout


def fill(ember: Ember, connections: int) -> float:
    """Until the queue is full; accepted a second, while there was room."""
    rates: list[float] = []
    rate = 0.0
    while ember.waiting() < ember.limit:
        rate, _, accepted = load(ember, connections, 10)
        if accepted:
            rates.append(rate)
            common.say(f"  {rate:,.0f} a second, {ember.waiting():,} wait")
    return statistics.median(rates) if rates else rate


def round_trips_ms(ember: Ember, count: int) -> list[float]:
    """From a spawn to its result, one after the other."""
    took_ms: list[float] = []
    with contextlib.closing(http.client.HTTPConnection(ember.address, timeout=60)) as connection:
        for _ in range(count):
            began_s = time.perf_counter()
            call = ember.ask(connection, "POST", "/fn/bench-queue/echo?mode=async")["call_id"]
            ember.ask(connection, "GET", f"/api/v1/calls/{call}/result?wait_ms=30000")
            took_ms.append(1e3 * (time.perf_counter() - began_s))
    return took_ms


class Peer:
    """Celery or RQ on a Redis."""

    def __init__(self, name: str, redis_port: int, folder: Path) -> None:
        self.name = name
        self.python = common.peer_python(name, PEERS[name])
        self.port = redis_port
        self.log = folder / f"{name}.log"
        self.environment = {**os.environ, "BENCH_REDIS_PORT": str(redis_port)}
        self.processes = 1

    def clients(self, what: str, *numbers: float) -> Any:
        """What clients.py prints."""
        command = [self.python, "clients.py", self.name, what, *map(str, numbers)]
        done = subprocess.run(
            command, cwd=SIDES, env=self.environment, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """One worker, which has run a job."""
        program, *arguments = WORKERS[self.name].format(port=self.port).split()
        command = [str(self.python.parent / program), *arguments]
        environment = {**self.environment, "PYTHONPATH": str(SIDES)}
        with (
            self.log.open("wb") as out,
            common.running(command, cwd=SIDES, env=environment, stdout=out, stderr=out),
        ):
            self.clients("round_trips", 1)
            yield

    def choose_processes(self, connections: int, seconds: int) -> None:
        """The number of client processes with which most is accepted."""
        rates = {}
        for processes in (2, 4, 8):
            said = self.clients("accepts", processes, connections, seconds)
            rates[said["accepts_per_s"]] = processes
            common.say(
                f"  {self.name}, {processes} processes: {said['accepts_per_s']:,.0f} a second"
            )
        self.processes = rates[max(rates)]


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[tuple[int, int]]:
    """Redis that keeps what it has answered: its port and process."""
    port = common.free_port()
    folder.mkdir()
    command = [*REDIS, "--port", str(port), "--dir", str(folder)]
    with common.running(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not answer") from None
                time.sleep(0.05)
        yield port, process.pid


@contextlib.contextmanager
def counting_syncs(pid: int) -> Iterator[list[int]]:
    """How often a process makes files durable meanwhile: known at the end."""
    command = ["perf", "stat", "-x,", "-e", ",".join(SYNCS), "-p", str(pid)]
    told: list[int] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield told
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
    counts = [line.partition(",")[0] for line in said.splitlines() if "sys_enter" in line]
    if len(counts) != len(SYNCS) or not all(count.isdigit() for count in counts):
        raise RuntimeError(f"perf does not count: {said}")
    told.append(sum(map(int, counts)))


def trip_round(measure: Callable[[int], list[float]], pid: int, count: int) -> dict[str, float]:
    """A round of calls from each to its result, after ten that do not count."""
    with counting_syncs(pid) as syncs:
        took_ms = measure(count + 10)
    return {"p50_ms": statistics.median(took_ms[10:]), "syncs": syncs[0] / len(took_ms)}


def accept_round(ember: Ember, connections: int, seconds: int) -> dict[str, float]:
    """A round of Ember's."""
    with counting_syncs(ember.pid) as syncs:
        rate, total, accepted = load(ember, connections, seconds)
    if not accepted:
        raise RuntimeError("Ember refused calls")
    return {"accepts_per_s": rate, "accepts_per_sync": total / max(1, syncs[0])}


def peer_accept_round(
    peer: Peer, redis_pid: int, connections: int, seconds: int
) -> dict[str, float]:
    """A round of a peer's."""
    with counting_syncs(redis_pid) as syncs:
        said = peer.clients("accepts", peer.processes, connections, seconds)
    return {
        "accepts_per_s": said["accepts_per_s"],
        "accepts_per_sync": said["enqueued"] / max(1, syncs[0]),
    }


def beside_peers(folder: Path, options: Any, names: list[str], left_out: dict[str, str]) -> Any:
    """Round trips and accepts, each with Ember and the peers in turn; the client processes that each peer had."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        ember = stack.enter_context(running_ember(folder / "ember", ROUND_LIMIT))
        port, redis_pid = stack.enter_context(redis(folder / "redis"))
        peers: dict[str, Peer] = {}
        measure = functools.partial(round_trips_ms, ember)
        trips: dict[str, Any] = {
            "ember": functools.partial(trip_round, measure, ember.pid, options.trips)
        }
        with contextlib.ExitStack() as workers:
            for name in names:
                with common.leaving_out(name, left_out):
                    peer = Peer(name, port, folder)
                    workers.enter_context(peer.worker())
                    peers[name] = peer
                    measure = functools.partial(peer.clients, "round_trips")
                    trips[name] = functools.partial(trip_round, measure, redis_pid, options.trips)
            common.say("from a call to its result")
            results = {"round_trips": common.alternate(trips, options.rounds, None, rest_s=3)}
        size, seconds = options.connections, options.seconds
        accepts: dict[str, Any] = {"ember": functools.partial(accept_round, ember, size, seconds)}
        common.say(f"accepted from {size} connections")
        for name, peer in peers.items():
            with common.leaving_out(name, left_out):
                peer.choose_processes(size, max(1, seconds // 2))
                accepts[name] = functools.partial(peer_accept_round, peer, redis_pid, size, seconds)
        results["accepts"] = common.alternate(accepts, options.rounds, None, rest_s=3)
        return results, {name: peer.processes for name, peer in peers.items()}


def peer_figures(results: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, float]:
    """Ember over the best peer, and the absolutes."""
    figures: dict[str, float] = {}
    trips, accepts = results["round_trips"], results["accepts"]
    for name, samples in accepts.items():
        figures[f"{name}_accepts_per_s"] = common.median(samples, "accepts_per_s")
        figures[f"{name}_accepts_per_sync"] = common.median(samples, "accepts_per_sync")
    for name, samples in trips.items():
        prefix = "" if name == "ember" else f"{name}_"
        figures[f"{prefix}end_to_end_p50_ms"] = common.median(samples, "p50_ms")
        figures[f"{prefix}end_to_end_syncs"] = common.median(samples, "syncs")
    ratios = [
        common.ratio(accepts["ember"], samples, "accepts_per_s")
        for name, samples in accepts.items()
        if name != "ember"
    ]
    if ratios:
        figures["accepted_vs_best_peer"] = min(ratios)
    return figures


def backlog_figures(folder: Path, backlog: int, connections: int) -> dict[str, float]:
    """What many that wait cost, and what a kill costs then."""
    with running_ember(folder, backlog) as ember:
        common.say("filling the queue")
        rate = fill(ember, connections)
        before, rss_mb = ember.waiting(), ember.rss_mb()
        ready_ms = ready_after_kill_ms(ember)
        return {
            "accepts_per_s": rate,
            "backlog": before,
            "backlog_rss_mb": rss_mb,
            "ready_after_kill_ms": ready_ms,
            "lost_after_kill": before - ember.waiting(),
        }


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
    options = common.options(
        __doc__,
        rounds=3, seconds=4, trips=200, connections=512, backlog=1_000_000, sides=",".join(PEERS),
    )  # fmt: skip
    names = [name for name in options.sides.split(",") if name]
    if unknown := set(names) - set(PEERS):
        sys.exit(f"no sides {', '.join(sorted(unknown))}: --sides={','.join(PEERS)}")
    common.need_programs("wrk", "redis-server", "perf")
    left_out: dict[str, str] = {}
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        results, processes = beside_peers(folder / "peers", options, names, left_out)
        figures |= peer_figures(results)
        if options.backlog:
            figures |= backlog_figures(folder / "backlog", options.backlog, options.connections)
    versions = {
        "python": sys.version.split()[0],
        "redis": common.output_of("redis-server", "--version"),
        "wrk": common.output_of("wrk", "-v"),
        **{name: ", ".join(PEERS[name]) for name in names},
    }
    settings = {"redis": shlex.join(REDIS), "connections": str(options.connections)}
    for name in processes:
        settings[f"{name}_worker"] = WORKERS[name]
        settings[f"{name}_client_processes"] = str(processes[name])
    common.write("queue", figures, {**results, "left_out": left_out}, versions, settings)


if __name__ == "__main__":
    main()
