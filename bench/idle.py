"""What Ember costs while nobody asks: the start of `serve`, and both processes at rest with 100 deployed functions.

`start_ms` is from the exec of `emberd serve` to its first answer at /healthz. `rss_mb` and `cpu_share` are of both
processes together; the share is of one core.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import common

EMBERD = common.ROOT / "build" / "bin" / "emberd"
FUNCTIONS = 100


def app_of(functions: int) -> str:
    """The source of an app with so many functions."""
    lines = ["import ember", 'app = ember.App("bench-idle")']
    for i in range(functions):
        lines += ["@app.function()", f"def f{i}() -> None: ..."]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, int]]:
    """A server with the functions deployed: the processes' ids by role."""
    script = folder / "app.py"
    script.write_text(app_of(FUNCTIONS))
    data = folder / "data"
    with common.ember(data, script):
        yield {role: int((data / f"{role}.pid").read_text()) for role in ("serve", "node")}


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, in seconds, to the nanosecond."""
    return (
        sum(
            int((task / "schedstat").read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        / 1e9
    )


def start_ms(folder: Path) -> float:
    """From the exec of `emberd serve`, on state that is there already, to its first answer."""
    port = common.free_port()
    began_s = time.monotonic()
    process = subprocess.Popen(
        [
            EMBERD, "serve", "--data", folder / "data", "--listen", f"127.0.0.1:{port}",
            "--prices", common.ROOT / "data" / "prices.json",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not answers(port):
            if process.poll() is not None:
                sys.exit("emberd serve ended at its start")
            time.sleep(0.0005)
        return (time.monotonic() - began_s) * 1e3
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether /healthz answers that all is well."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def main() -> None:
    options = common.options(__doc__, rounds=5, seconds=30.0)
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        folder = Path(temporary)
        with server(folder) as pids:
            common.wait_until_idle(None)
            before_s = {role: cpu_s(pid) for role, pid in pids.items()}
            time.sleep(options.seconds)
            share = {
                role: (cpu_s(pid) - before_s[role]) / options.seconds for role, pid in pids.items()
            }
            rss = {role: common.rss_bytes(pid) / 1e6 for role, pid in pids.items()}
        starts_ms = [start_ms(folder) for _ in range(options.rounds)]
    common.write(
        "idle",
        {
            "start_ms": statistics.median(starts_ms),
            "rss_mb": sum(rss.values()),
            "cpu_share": sum(share.values()),
        },
        {"starts_ms": starts_ms, "rss_mb": rss, "cpu_share": share},
        {"python": sys.version.split()[0]},
    )


if __name__ == "__main__":
    main()
