"""What an event costs the engine, by how many containers there are, with 100,000 inputs waiting.

`growth` is the cost with 10,000 containers over the cost with 10. The peer is the engine itself at another size: it
decides nothing that another program would decide. `simulated_events_per_s` is what the simulator puts through it,
with nodes, faults, load and ledger but without the checkers; beside it the rate by the processor time it used, which
a machine that others use as well does not lower so much, and the rate with the checkers.
"""

from __future__ import annotations

import functools
import json
import re
import resource
import subprocess
from collections.abc import Callable

from bench import common

PROGRAM = common.ROOT / "build" / "bin" / "ember-engine-bench"
CONTAINERS = (10, 1_000, 10_000)
WAITING = 100_000
SIMULATOR = common.ROOT / "build" / "bin" / "ember-sim"
SEEDS = 300


def cost(containers: int, events: int) -> dict[str, float]:
    """One run: microseconds an event."""
    command = [str(PROGRAM), str(containers), str(WAITING), str(events)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"us_per_event": json.loads(done.stdout)["us_per_event"]}


def simulated(*flags: str) -> dict[str, float]:
    """One run of the simulator over the same seeds: events a second, of the clock and of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(SIMULATOR), "--seeds", str(SEEDS), *flags], check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"^(\d+) events in [\d.]+ s, (\d+) a second$", done.stdout, re.MULTILINE)
    assert found is not None
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"events_per_s": float(found[2]), "events_per_cpu_s": float(found[1]) / cpu_s}


def main() -> None:
    options = common.options(__doc__, rounds=5, events=2_000_000)
    sides: dict[str, Callable[[], dict[str, float]]] = {
        str(count): functools.partial(cost, count, options.events) for count in CONTAINERS
    }
    sides["simulator"] = functools.partial(simulated, "--no-check")
    sides["simulator_checked"] = simulated
    samples = common.alternate(sides, options.rounds, None)
    figures = {
        f"us_per_event_{count}": common.median(samples[str(count)], "us_per_event")
        for count in CONTAINERS
    }
    most, fewest = (samples[str(count)] for count in (CONTAINERS[-1], CONTAINERS[0]))
    figures["growth"] = common.ratio(most, fewest, "us_per_event")
    unchecked, checked = samples["simulator"], samples["simulator_checked"]
    figures["simulated_events_per_s"] = common.median(unchecked, "events_per_s")
    figures["simulated_events_per_cpu_s"] = common.median(unchecked, "events_per_cpu_s")
    figures["simulated_events_per_s_checked"] = common.median(checked, "events_per_s")
    common.write("engine", figures, samples, {})


if __name__ == "__main__":
    main()
