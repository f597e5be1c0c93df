"""The drill: kills by a schedule while calls, deploys and scale-downs go on, and what holds after."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from conftest import Server, wait_until
from ember import _client
from ember._config import Config
from leftovers import held, settled
from processes import end_at_once, running

from kills import bill, ends, jobs, ticks
from kills.ends import Outage
from kills.lives import Lives
from kills.load import Load
from kills.schedule import Kill, schedule
from kills.sent import APP, Door, Sent, call
from kills.told import Told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes import Process

CALLERS = 10
_APPS = (APP, ticks.APP)
_DEPLOY_EVERY_S = 3.0
_DEPLOYS_STAND_ON = {"serve", "node"}
_SETTLE_LIMIT_S = 60.0


class Drill:
    """One drill on a server that is up and has run nothing yet."""

    def __init__(self, server: Server, up: tuple[str, ...], seed: int, kills: int) -> None:
        self.findings: list[str] = []
        self.counts: Counter[str] = Counter()
        self._server = server
        self._up = up
        self._seed = seed
        self._schedule = schedule(seed, kills)
        self._told = Told()
        self._told.secret = server.json("webhook", "secret")["secret"]
        self._door = Door(server.url.removeprefix("http://"), server.key, self._told.url)
        self._node = (server.data / "node" / "node_id").read_text().strip()
        self._outages: list[Outage] = []
        self._calls: list[Sent] = []
        self._failed_deploys: list[tuple[float, float, str]] = []
        self._tables: list[dict[str, tuple[str, str]]] = []  # of each life of the server

    def run(self) -> None:
        """All of it; findings and counts tell how it went."""
        with Lives(self._server.data) as lives, _spoken_to(self._server):
            self._warm_up()
            at_rest = held(self._server.data)
            self._server.deploy("ticks_under_kills.py")
            with self._under_load(self._seed):
                for number, kill in enumerate(self._schedule):
                    time.sleep(kill.after_s)
                    if kill.target in ("serve", "all"):
                        self._keep_table()
                    self._kill(number, kill)
            for name in ticks.FUNCTIONS:
                self._server.cli("schedule", "pause", f"{ticks.APP}.{name}")
            self._come_to_rest()
            self._keep_table()
            left = settled(self._server.data, at_rest)
            self._find("left at rest", left)
            self._down_under_load()
            self._come_to_rest()
            wait_until("all ends are told", lambda: not self._told.missing(self._calls))
            wait_until("all ends are billed", lambda: not held(self._server.data).of("ends"))
            cost = self._server.json("cost")
            self._server.cli("down")
            self._find("left when all is down", held(self._server.data))
            self._check_calls()
            self._check_jobs()
            self._check_bill(bill.check(self._server.data, lives.end(), cost))

    def close(self) -> None:
        """Nobody is told of anything any more."""
        self._told.close()

    def report(self) -> str:
        """Seed and counts, a line for each."""
        lines = [f"seed {self._seed}, {len(self._schedule)} kills"]
        lines += [f"  {name:<32} {count}" for name, count in sorted(self.counts.items())]
        lines += [f"  FOUND: {finding}" for finding in self.findings]
        return "\n".join(lines)

    def _find(self, what: str, things: Any) -> None:
        if things:
            self.findings.append(f"{what}: {things}")

    # --- the work that goes on --------------------------------------------------------------------

    def _warm_up(self) -> None:
        """One call of each sort: the first make what the node keeps for all containers."""
        for _ in range(2):  # so that there is a version to go back to
            self._server.deploy("under_kills.py")
        for function, seconds in (("echo", None), ("on_gpu", 0.0), ("shared", 0.0)):
            self._calls.append(call(self._door, function, f"first-{function}", seconds))
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        wait_until("scaled to zero", lambda: not self._listed(), _SETTLE_LIMIT_S)

    @contextlib.contextmanager
    def _under_load(self, seed: int) -> Iterator[None]:
        work = Load(self._door, seed, CALLERS)
        stopping = threading.Event()
        deployer = threading.Thread(target=self._deploy, args=(stopping,))
        work.start()
        deployer.start()
        try:
            yield
        finally:
            stopping.set()
            self._calls += work.stop()
            deployer.join()

    def _deploy(self, stopping: threading.Event) -> None:
        """New versions and returns to old ones, each of which retires what runs."""
        number = 0
        while not stopping.wait(_DEPLOY_EVERY_S):
            number += 1
            began_s = time.time()
            try:
                if number % 2:
                    self._server.deploy("under_kills.py")
                elif number % 4 == 0:
                    self._server.deploy("ticks_under_kills.py")
                else:
                    back = self._server.http("POST", f"/api/v1/apps/{APP}/rollback", {"version": 0})
                    assert back.status == 200, back
            except (AssertionError, OSError) as error:
                self._failed_deploys.append((began_s, time.time(), str(error)))
            else:
                self.counts["deploys and rollbacks"] += 1

    # --- kills ------------------------------------------------------------------------------------

    def _kill(self, number: int, kill: Kill) -> None:
        roles = [role for role in ("serve", "node") if kill.target in (role, "all")]
        with_runners = kill.target in ("runners", "all")
        if with_runners:
            wait_until("there are runners", self._runners)
        before = self._living()
        chance = random.Random(f"{self._seed}/{number}")
        runners = self._runners() if with_runners else []
        chosen = chance.sample(runners, max(1, round(kill.share * len(runners)))) if runners else []
        began_s = time.time()
        killed = end_at_once([*(self._server.pid(role) for role in roles), *chosen])
        self.counts[f"kills of {kill.target}"] += 1
        self.counts["processes killed"] += killed
        if roles:
            time.sleep(kill.down_s)
            self._server.up(*self._up)
        targets = frozenset(roles + ["runners"] * with_runners)
        self._meet_again(before)
        self._next_call_works(f"after-{number}")
        self._outages.append(Outage(began_s, time.time(), targets))

    def _processes(self) -> Iterator[tuple[str, Process]]:
        """Each process that bears the mark of a container, and which."""
        for process in running():
            node, _, container = process.environment.get("EMBER_CONTAINER", "").partition("/")
            if node == self._node:
                yield container, process

    def _runners(self) -> list[int]:
        """The users' Python processes, beneath the first ones of their containers."""
        return sorted(one.pid for _, one in self._processes() if one.program.endswith("/python3"))

    def _living(self) -> set[str]:
        return {container for container, _ in self._processes()}

    def _listed(self) -> set[str]:
        rows = [row for app in _APPS for row in self._server.containers(app)]
        return {row["container_id"] for row in rows}

    def _keep_table(self) -> None:
        """What this life of the server has to tell of its calls: function and state of each."""
        path = f"/api/v1/calls?app={APP}&limit=1000"
        told = self._server.http("GET", path).document["calls"]
        self._tables.append({row["call_id"]: (row["function"], row["state"]) for row in told})

    def _meet_again(self, before: set[str]) -> None:
        """What ran before a kill is adopted, or ended: listed and living, or neither."""
        unsettled = set(before)

        def all_are_settled() -> bool:
            listed, living = self._listed(), self._living()
            for container in list(unsettled):
                if (container in listed) == (container in living):
                    unsettled.discard(container)
                    told = (
                        "containers found alive again"
                        if container in living
                        else "containers ended"
                    )
                    self.counts[told] += 1
            return not unsettled

        wait_until("all containers are adopted or ended", all_are_settled, _SETTLE_LIMIT_S)

    def _next_call_works(self, token: str) -> None:
        def works() -> bool:
            self._calls.append(call(self._door, "echo", token))
            return self._calls[-1].outcome == "result"

        wait_until("a call works", works, _SETTLE_LIMIT_S)

    def _down_under_load(self) -> None:
        """`down --now` while calls run leaves nothing but ends, which the next start bills."""
        with self._under_load(self._seed + 1):
            wait_until("containers run", lambda: len(self._listed()) >= 3)
            began_s = time.time()
            self._server.cli("down", "--now")
            self._find("left by down --now", held(self._server.data).without("ends"))
            self._server.up(*self._up)
            ended_s = time.time()
        self._outages.append(Outage(began_s, ended_s, frozenset(["serve", "node", "runners"])))

    # --- afterwards -------------------------------------------------------------------------------

    def _check_calls(self) -> None:
        for sent in self._calls:
            self.counts[f"calls that came to: {sent.outcome}"] += 1
            self.counts[f"calls of {sent.function}"] += 1
            self.counts["calls that waited for a container"] += sent.is_cold
            self.counts["calls under way at a kill"] += any(
                sent.began_s <= outage.began_s <= sent.ended_s for outage in self._outages
            )
        for sent in ends.wrong_ends(self._calls, self._outages):
            self.findings.append(f"a call ended wrong: {sent}")
        self._find("ids that two calls had", ends.doubled(self._calls))
        self.findings += ends.held_against(self._calls, self._tables)
        for began_s, ended_s, error in self._failed_deploys:
            outages = [o for o in self._outages if o.meets(began_s, ended_s)]
            if any(outage.targets & _DEPLOYS_STAND_ON for outage in outages):
                self.counts["deploys that a kill cut off"] += 1
            else:
                self.findings.append(f"a deploy failed: {error}")

    def _check_jobs(self) -> None:
        found, count = jobs.check(self._server.data, self._calls)
        self.findings += found
        self.counts["calls for later, on disk"] = count
        found, again = self._told.check(self._calls)
        self.findings += found
        self.counts["webhooks that were told again"] = again
        self.counts["webhooks"] = sum(sent.is_told for sent in self._calls)
        found, counts = ticks.check(self._server.data, self._outages)
        self.findings += found
        self.counts += counts

    def _check_bill(self, found: bill.Bill) -> None:
        # The end of a node is when ends come in heaps: of one the witness may come too late.
        ends_of_nodes = 1 + sum(kill.target in ("node", "all") for kill in self._schedule)
        if found.ends_not_seen > ends_of_nodes:
            missed = f"{found.ends_not_seen} ends, where a node ended {ends_of_nodes} times"
            self.findings.append(f"the witness missed {missed}")
        told = asdict(found)
        self.findings += told.pop("findings")
        self.counts.update({f"bill: {name}": count for name, count in told.items()})


@contextlib.contextmanager
def _spoken_to(server: Server) -> Iterator[None]:
    """The SDK in this process speaks to that server."""
    before = _client._shared
    _client._shared = _client.Client(Config(server.url, server.key))
    try:
        yield
    finally:
        _client._shared = before
