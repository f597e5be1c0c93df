"""What every benchmark shares: a venv for the peers, alternated rounds, and one JSON file of figures.

A benchmark writes build/bench/NAME.json: {"figures", "raw", "machine", "versions"}. Sides alternate round by
round, so that a machine that slows for a while slows all of them; figures are medians, every round is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

# What benchmarks share with the tests.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from ports import free_port

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "bench"
EMBER = ROOT / ".venv" / "bin" / "ember"


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def need_programs(*names: str) -> None:
    """Ends with what to install if a program that the benchmark uses is not there."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        sys.exit(f"this benchmark needs {', '.join(missing)}: apt-get install {' '.join(missing)}")


def peers_venv(requirements: list[str]) -> Path:
    """A Python of build/bench/venv in which the peers are installed; made once for a set of requirements."""
    venv = OUTPUT / "venv"
    stamp = venv / "requirements.txt"
    wanted = "\n".join(sorted(requirements))
    if not stamp.exists() or stamp.read_text() != wanted:
        say("installing the peers into build/bench/venv")
        subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "-q", *requirements], check=True)
        stamp.write_text(wanted)
    return venv / "bin" / "python"


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command on one core, or as it is."""
    return command if core is None else ["taskset", "-c", str(core), *command]


def options(doc: str | None, **defaults: float) -> argparse.Namespace:
    """A benchmark's options: numbers of the defaults' types. From then on SIGTERM ends it as Ctrl-C does."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("told to end"))
    return parser.parse_args()


@contextlib.contextmanager
def ember(data: Path, script: Path, core: int | None = None) -> Iterator[str]:
    """Ember on a data directory and a core, with the script's app deployed: its URL."""
    environment = {**os.environ, "EMBER_DATA": str(data)}
    port = free_port()

    def cli(*arguments: str | Path) -> None:
        command = pinned(core, [str(EMBER), *map(str, arguments)])
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    cli("up", "--listen", f"127.0.0.1:{port}")
    try:
        cli("deploy", script)
        yield f"http://127.0.0.1:{port}"
    finally:
        cli("down", "--now")


def rss_bytes(pid: int) -> int:
    """Memory that a process holds in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def call_request(path: str, key: str | None, body: bytes) -> bytes:
    """One call as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Caller:
    """Calls on one connection, one after the other, each timed from its first byte to the answer's last."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes) -> float:
        """Makes a call, whose answer's body is short: how long it took, in seconds."""
        began_s = time.perf_counter()
        self._socket.sendall(request)
        answer = b""
        while not self._is_whole(answer):
            part = self._socket.recv(65536)
            if not part:
                raise RuntimeError(f"the server closed the connection after {answer!r}")
            answer += part
        took_s = time.perf_counter() - began_s
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the server answered {answer!r}")
        return took_s

    @staticmethod
    def _is_whole(answer: bytes) -> bool:
        head, found, body = answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return bool(found) and len(body) >= int(length)

    def tail_us(self, request: bytes, seconds: float) -> dict[str, float]:
        """Calls for a time: quantiles of what they took. A call that was held up counts as one."""
        self.call(request)
        until_s = time.perf_counter() + seconds
        took_us: list[float] = []
        while time.perf_counter() < until_s:
            took_us.append(1e6 * self.call(request))
        quantiles = statistics.quantiles(took_us, n=1000)
        return {"p99_us": quantiles[989], "p999_us": quantiles[998], "calls": len(took_us)}


def wait_until_idle(core: int | None, limit_s: float = 15.0) -> None:
    """Returns when a core (or all of them together) has been at rest for a tenth of a second.

    A load that ends leaves requests behind that its server still works on; the next side must not pay
    for them. On a machine that others keep busy it goes on after the limit.
    """
    deadline = time.monotonic() + limit_s
    idle, total = _core_ticks(core)
    while time.monotonic() < deadline:
        time.sleep(0.1)
        idle_now, total_now = _core_ticks(core)
        if idle_now - idle >= 0.7 * (total_now - total):
            return
        idle, total = idle_now, total_now


def _core_ticks(core: int | None) -> tuple[int, int]:
    """How long a core has been idle, and how long it has been, in ticks."""
    wanted = "cpu" if core is None else f"cpu{core}"
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == wanted:
            ticks = [int(number) for number in numbers]
            return ticks[3] + ticks[4], sum(ticks)
    sys.exit(f"this machine has no {wanted}")


def alternate(
    sides: dict[str, Callable[[], dict[str, float]]],
    rounds: int,
    server_core: int | None,
    rest_s: float = 15.0,
) -> dict[str, list[dict[str, float]]]:
    """Runs each side once a round, in turn, each from rest; gives every round of every side."""
    for measure in sides.values():
        wait_until_idle(server_core, rest_s)
        measure()  # a round that does not count
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, measure in sides.items():
            wait_until_idle(server_core, rest_s)
            sample = measure()
            samples[name].append(sample)
            shown = ", ".join(f"{key} {readable(value)}" for key, value in sample.items())
            say(f"  round {number + 1}/{rounds}  {name:24} {shown}")
    return samples


def readable(value: float) -> str:
    """Whole numbers where they are large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def median(samples: list[dict[str, float]], key: str) -> float:
    """The median of one reading over the rounds."""
    return statistics.median(sample[key] for sample in samples)


def ratio(above: list[dict[str, float]], below: list[dict[str, float]], key: str) -> float:
    """The median of the ratios round by round: sides of one round saw the same machine."""
    return statistics.median(a[key] / b[key] for a, b in zip(above, below))


def machine() -> dict[str, object]:
    """What it ran on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": platform.platform(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def output_of(*command: str | Path) -> str:
    """The first line a program prints about itself, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True)
    return ((done.stdout or done.stderr).strip().splitlines() or [""])[0]


def write(name: str, figures: dict[str, float], raw: object, versions: dict[str, str]) -> None:
    """Writes build/bench/NAME.json and prints the figures."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    document = {
        "figures": {key: round(value, 4) for key, value in figures.items()},
        "raw": raw,
        "machine": machine(),
        "versions": versions,
    }
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    for key, value in document["figures"].items():
        print(f"{key:28} {value}")
    say(f"all rounds in {path.relative_to(ROOT)}")
