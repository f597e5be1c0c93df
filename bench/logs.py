"""What logs cost: how fast lines pass, and what a container that floods does to its neighbour's calls.

`lines_per_s` is ordinary prints, from the first to the answer of the call that made them, all of them kept.
`neighbour_p99_ratio` is the p99 of a neighbour's warm calls beside a container that writes past every budget, over
the p99 alone, round by round; the flood is the worst of the kinds in the raw figures.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import common

APP = """
import os, socket, struct, subprocess, sys, time
import ember

app = ember.App("bench-logs")
LINE = "x" * 99


@app.function()
def neighbour() -> int:
    return 1


@app.function()
def lines(count: int) -> None:
    for i in range(count):
        print("an ordinary line with the number", i)


@app.function(timeout=3600)
def prints(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        print(LINE)


@app.function(timeout=3600)
def writes(seconds: float) -> None:
    block = (LINE.encode() + b"\\n") * 10_000
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        os.write(1, block)


@app.function(timeout=3600)
def frames(seconds: float) -> None:
    text = b"\\1" + (LINE.encode() + b"\\n") * 300
    data = struct.pack("<IBBHQ", len(text), 10, 0, 0, 0) + text
    for name in os.listdir("/proc/self/fd"):
        try:
            server = socket.socket(fileno=os.dup(int(name)))
            if server.family == socket.AF_UNIX and server.getpeername():
                break
        except OSError:
            pass
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        server.sendall(data)


@app.function(timeout=3600)
def spins(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
"""
FLOODS = ("prints", "writes", "frames")


def call_of(function: str, key: str, arguments: str = "{}") -> bytes:
    """A call of one of the app's functions, as bytes."""
    return common.call_request(f"/fn/bench-logs/{function}", key, arguments.encode())


@contextlib.contextmanager
def beside(url: str, key: str, function: str, seconds: float) -> Iterator[None]:
    """A call of another function that goes on meanwhile."""
    request = call_of(function, key, f'{{"seconds": {seconds}}}')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: common.Caller(url).call(request))
        yield
        call.result()


def main() -> None:
    options = common.options(__doc__, rounds=5, seconds=5.0, lines=100_000)
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        script = Path(temporary) / "app.py"
        script.write_text(APP)
        data = Path(temporary) / "data"
        with common.ember(data, script) as url:
            key = (data / "key").read_text().strip()
            caller, neighbour = common.Caller(url), call_of("neighbour", key)

            def lines() -> dict[str, float]:
                time.sleep(options.lines * 50 / (1 << 20))  # the budget is whole again
                took_s = caller.call(call_of("lines", key, f'{{"count": {options.lines}}}'))
                return {"lines_per_s": options.lines / took_s}

            def side(function: str | None) -> dict[str, float]:
                if function is None:
                    return caller.tail_us(neighbour, options.seconds)
                with beside(url, key, function, options.seconds + 1.0):
                    return caller.tail_us(neighbour, options.seconds)

            sides = {"alone": lambda: side(None), "spins": lambda: side("spins")}
            sides |= {name: lambda name=name: side(name) for name in FLOODS}
            samples = common.alternate({**sides, "lines": lines}, options.rounds, None)
    ratios = {name: common.ratio(samples[name], samples["alone"], "p99_us") for name in sides}
    over_spinning = {
        name: common.ratio(samples[name], samples["spins"], "p99_us") for name in FLOODS
    }
    common.write(
        "logs",
        {
            "lines_per_s": common.median(samples["lines"], "lines_per_s"),
            "neighbour_p99_ratio": max(ratios[name] for name in FLOODS),
            "neighbour_p99_over_spinning": max(over_spinning.values()),
        },
        {"samples": samples, "ratios": ratios, "over_spinning": over_spinning},
        {"python": sys.version.split()[0]},
    )


if __name__ == "__main__":
    main()
