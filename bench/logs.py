"""What logs cost: how fast lines pass, and what a container that floods does to its neighbour's calls.

`lines_per_s` is ordinary prints, from the first to the answer of the call that made them, all of them kept.
`neighbour_p99_ratio` is the p99 of a neighbour's warm calls beside a container that writes past every budget, over
the p99 alone, round by round; the flood is the worst of the kinds in the raw figures.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import common

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


class Client:
    """Calls on one connection."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, function: str, arguments: str = "{}") -> float:
        """Calls a function: how long it took, in seconds."""
        began_s = time.perf_counter()
        self._connection.request("POST", f"/fn/bench-logs/{function}", arguments, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{function} answered {answer.status}")
        return time.perf_counter() - began_s


def p99_us(client: Client, seconds: float) -> dict[str, float]:
    """Calls of the neighbour, one after the other, for a time."""
    client.call("neighbour")
    until_s = time.perf_counter() + seconds
    took_s: list[float] = []
    while time.perf_counter() < until_s:
        took_s.append(client.call("neighbour"))
    return {"p99_us": 1e6 * statistics.quantiles(took_s, n=100)[98], "calls": len(took_s)}


@contextlib.contextmanager
def beside(url: str, key: str, function: str, seconds: float) -> Iterator[None]:
    """A call of another function that goes on meanwhile."""
    arguments = f'{{"seconds": {seconds}}}'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: Client(url, key).call(function, arguments))
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
            client = Client(url, key)

            def lines() -> dict[str, float]:
                time.sleep(options.lines * 50 / (1 << 20))  # the budget is whole again
                took_s = client.call("lines", f'{{"count": {options.lines}}}')
                return {"lines_per_s": options.lines / took_s}

            def side(function: str | None) -> dict[str, float]:
                if function is None:
                    return p99_us(client, options.seconds)
                with beside(url, key, function, options.seconds + 1.0):
                    return p99_us(client, options.seconds)

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
