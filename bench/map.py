"""A map over fifty hot containers, beside a pool of fifty processes on the same cores.

`inputs_per_s` is ten thousand inputs of a function that does nothing, from the first that is drawn to the last result;
`vs_pool` is that over concurrent.futures.ProcessPoolExecutor(50) with one input a message, round by round. `efficiency`
is what inputs of 20 ms of sleep would take at best on fifty over what they took. The client is one process in each case.
`from_zero_s` is one map of those that sleep, by a function that has no container yet, for the record.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import common

sys.path.insert(0, str(common.ROOT / "python"))

WORKERS = 50
SLEEP_S = 0.02
APP = f"""
import time
import ember

app = ember.App("bench-map")


@app.function(cpu=0.01, min_containers={WORKERS}, max_containers={WORKERS})
def nothing(number: int) -> int:
    return number


@app.function(cpu=0.01, min_containers={WORKERS}, max_containers={WORKERS})
def sleeps(number: int) -> int:
    time.sleep({SLEEP_S})
    return number


@app.function(cpu=0.01, max_containers={WORKERS})
def sleeps_from_zero(number: int) -> int:
    time.sleep({SLEEP_S})
    return number
"""


def nothing(number: int) -> int:
    """What the containers do, for the pool."""
    return number


def sleeps(number: int) -> int:
    """The same with a sleep."""
    time.sleep(SLEEP_S)
    return number


def wait_until_hot() -> None:
    """Returns when all containers of both functions are there."""
    from ember import _client

    deadline = time.monotonic() + 300
    while True:
        rows = _client.shared().get_json("/api/v1/containers")["containers"]
        if sum(row["state"] == "idle" for row in rows) >= 2 * WORKERS:
            return
        if time.monotonic() > deadline:
            sys.exit(f"after 5 minutes there are {len(rows)} containers")
        time.sleep(0.2)


def timed(run: Callable[[], int], count: int) -> dict[str, float]:
    """How many inputs a second it gets through."""
    began_s = time.perf_counter()
    done = run()
    took_s = time.perf_counter() - began_s
    if done != count:
        sys.exit(f"{done} results of {count}")
    return {"inputs_per_s": count / took_s, "seconds": took_s}


def main() -> None:
    """Runs both sides in turn and writes the figures."""
    options = common.options(__doc__, rounds=5, inputs=10_000, sleeping=10_000)
    if os.geteuid() != 0:
        sys.exit("this benchmark starts containers: run it as root")
    inputs, sleeping = options.inputs, options.sleeping
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(WORKERS) as pool:
        folder = Path(directory)
        folder.chmod(0o755)
        (folder / "bench_map.py").write_text(APP)
        list(
            pool.map(sleeps, range(2 * WORKERS), chunksize=1)
        )  # they are all there before a thread is
        with common.ember(folder / "data", folder / "bench_map.py") as url:
            os.environ["EMBER_URL"] = url
            os.environ["EMBER_KEY"] = (folder / "data" / "key").read_text().strip()
            import ember

            idle, asleep, cold = (
                ember.Function.from_name("bench-map", name)
                for name in ("nothing", "sleeps", "sleeps_from_zero")
            )
            common.say(f"waiting for {2 * WORKERS} containers")
            wait_until_hot()

            def mapped(function: ember.Function[..., int], count: int) -> int:
                return sum(1 for _ in function.map(range(count)))

            def pooled(function: Callable[[int], int], count: int) -> int:
                return sum(1 for _ in pool.map(function, range(count), chunksize=1))

            samples = common.alternate(
                {
                    "ember": lambda: timed(lambda: mapped(idle, inputs), inputs),
                    "pool": lambda: timed(lambda: pooled(nothing, inputs), inputs),
                    "ember, 20 ms": lambda: timed(lambda: mapped(asleep, sleeping), sleeping),
                    "pool, 20 ms": lambda: timed(lambda: pooled(sleeps, sleeping), sleeping),
                },
                options.rounds,
                None,
            )
            from_zero = timed(lambda: mapped(cold, sleeping), sleeping)
    ideal_s = sleeping * SLEEP_S / WORKERS
    figures = {
        "inputs_per_s": common.median(samples["ember"], "inputs_per_s"),
        "pool_inputs_per_s": common.median(samples["pool"], "inputs_per_s"),
        "vs_pool": common.ratio(samples["ember"], samples["pool"], "inputs_per_s"),
        "efficiency": ideal_s / common.median(samples["ember, 20 ms"], "seconds"),
        "pool_efficiency": ideal_s / common.median(samples["pool, 20 ms"], "seconds"),
        "from_zero_s": from_zero["seconds"],
    }
    versions = {
        "python": sys.version.split()[0],
        "ember": common.output_of(common.EMBER, "version"),
    }
    common.write("map", figures, samples, versions)


if __name__ == "__main__":
    main()
