"""Containers started and ended a second, through the whole real path, and what is left of them.

Callers in parallel, each calling in turn functions of its own that go to zero at once: an input, a container, an end.
`starts_per_s` counts the containers that were started, until the last has ended. Then what Ember holds of the
machine is compared with what it held before, by name: `leaks` is what is there beyond that. The floor is `crun run`
as in coldstart, as many at a time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import leftovers
from coldstart import Ember, crun_floor

from bench import common

APP = "bench-churn"
IN_TURN = 4  # functions of each caller: by the next turn the container of one has ended


def app_of(callers: int) -> str:
    """The source of an app with functions for each caller, and one whose container stays."""
    lines = ["import ember", f'app = ember.App("{APP}")']
    for i in range(callers * IN_TURN):
        lines += ["@app.function(cpu=0.1, scaledown_window=0.001)", f"def f{i}() -> None: ..."]
    lines += ["@app.function(cpu=0.1, min_containers=1)", "def pattern() -> None: ..."]
    return "\n".join(lines) + "\n"


class Callers:
    """Callers in parallel that count the containers their calls met."""

    def __init__(self, ember: Ember, parallel: int) -> None:
        self._ember = ember
        self._parallel = parallel
        self._met: set[str] = set()

    def churn(self, starts: int) -> dict[str, float]:
        """Calls until so many containers have been started, and waits for their ends."""
        self._met.clear()
        began_s = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(self._parallel) as pool:
            waits_ms = [
                wait_ms
                for one in [pool.submit(self._call, i, starts) for i in range(self._parallel)]
                for wait_ms in one.result()
            ]
        self._ember.wait_for_zero()
        took_s = time.perf_counter() - began_s
        return {
            "starts": len(self._met),
            "starts_per_s": len(self._met) / took_s,
            "call_p50_ms": sorted(waits_ms)[len(waits_ms) // 2],
        }

    def _call(self, caller: int, starts: int) -> list[float]:
        waits_ms = []
        while len(self._met) < starts:
            function = f"f{caller * IN_TURN + len(waits_ms) % IN_TURN}"
            began_s = time.perf_counter()
            answer, _ = self._ember.request("POST", f"/fn/{APP}/{function}", "{}")
            waits_ms.append((time.perf_counter() - began_s) * 1e3)
            self._met.add(answer.headers["Ember-Container-Id"])
        return waits_ms


def floor(
    stack: contextlib.ExitStack, container: Path, node: int, parallel: int, runs: int
) -> float:
    """`crun run` as many at a time: runs a second."""
    measures = [
        stack.enter_context(crun_floor(container, node, f"floor-{i}")) for i in range(parallel)
    ]
    for measure in measures:
        measure()  # the stage is set

    def many(measure: Callable[[], object]) -> None:
        for _ in range(runs // parallel):
            measure()

    began_s = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        list(pool.map(many, measures))
    return runs // parallel * parallel / (time.perf_counter() - began_s)


def at_rest(data: Path) -> leftovers.Holdings:
    """What is held when no start or end is on its way: two looks apart find the same."""
    before = leftovers.held(data)
    while True:
        time.sleep(0.5)
        now = leftovers.held(data)
        if not now.beyond(before) and not before.beyond(now):
            return now
        before = now


def held_by(pids: dict[str, int]) -> dict[str, float]:
    """Memory and descriptors of both processes."""
    held: dict[str, float] = {}
    for role, pid in pids.items():
        held[f"{role}_rss_mb"] = common.rss_bytes(pid) / 1e6
        held[f"{role}_fds"] = len(os.listdir(f"/proc/{pid}/fd"))
    return held


def main() -> None:
    options = common.options(__doc__, starts=1_000, parallel=4)
    common.need_programs("crun", "unshare")
    if os.geteuid() != 0:
        sys.exit("this benchmark starts containers: run it as root")
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp"))
        )
        os.chmod(folder, 0o755)
        data = folder / "data"
        script = folder / "app.py"
        script.write_text(app_of(options.parallel))
        ember = Ember(stack.enter_context(common.ember(data, script)), data)
        pids = {role: int((data / f"{role}.pid").read_text()) for role in ("serve", "node")}
        container = ember.pattern(APP)
        callers = Callers(ember, options.parallel)
        common.say(f"warm: {callers.churn(options.starts // 10)}")
        floor_per_s = floor(stack, container, pids["node"], options.parallel, options.starts // 10)
        before, held_before = at_rest(data), held_by(pids)
        churned = callers.churn(options.starts)
        common.say(f"churned: {churned}")
        left = leftovers.settled(data, before)
        held_after = held_by(pids)
        common.say(f"left: {left!r}")
    figures = {
        **churned,
        "floor_crun_per_s": floor_per_s,
        "starts_vs_floor": churned["starts_per_s"] / floor_per_s,
        "leaks": len(left),
        **{f"leaks_{kind}": count for kind, count in left.counts().items()},
        **{f"{name}_growth": held_after[name] - held_before[name] for name in held_before},
    }
    raw = {"left": [str(one) for one in left], "before": held_before, "after": held_after}
    common.write("churn", figures, raw, {"crun": common.output_of("crun", "--version")})


if __name__ == "__main__":
    main()
