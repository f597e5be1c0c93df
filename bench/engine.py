"""What an event costs the engine, by how many containers there are, with 100,000 inputs waiting.

`growth` is the cost with 10,000 containers over the cost with 10. The peer is the engine itself at another size: it
decides nothing that another program would decide.
"""

from __future__ import annotations

import functools
import json
import subprocess

import common

PROGRAM = common.ROOT / "build" / "bin" / "ember-engine-bench"
CONTAINERS = (10, 1_000, 10_000)
WAITING = 100_000


def cost(containers: int, events: int) -> dict[str, float]:
    """One run: microseconds an event."""
    command = [str(PROGRAM), str(containers), str(WAITING), str(events)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"us_per_event": json.loads(done.stdout)["us_per_event"]}


def main() -> None:
    options = common.options(__doc__, rounds=5, events=2_000_000)
    sides = {str(count): functools.partial(cost, count, options.events) for count in CONTAINERS}
    samples = common.alternate(sides, options.rounds, None)
    figures = {
        f"us_per_event_{name}": common.median(rounds, "us_per_event")
        for name, rounds in samples.items()
    }
    most, fewest = (samples[str(count)] for count in (CONTAINERS[-1], CONTAINERS[0]))
    figures["growth"] = common.ratio(most, fewest, "us_per_event")
    common.write("engine", figures, samples, {})


if __name__ == "__main__":
    main()
