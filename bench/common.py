"""What every benchmark shares: peers and their venvs, alternated rounds, and one JSON file of figures.

A benchmark writes build/bench/NAME.json: {"figures", "raw", "machine", "versions", "settings"}. Sides alternate round
by round, so that a machine that slows for a while slows all of them; figures are medians, every round is kept.
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
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# What benchmarks share with the tests.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from ports import free_port

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "bench"
EMBER = ROOT / ".venv" / "bin" / "ember"
# Serving systems beside Ember, and what is installed for each.
SERVING_PEERS = {
    "ray": ["ray[serve]==2.60.0"],
    "bentoml": ["bentoml==1.4.40", "httptools==0.9.0", "uvloop==0.23.0"],
    "litserve": ["litserve==0.2.19"],
    "mosec": ["mosec==0.9.8"],
}


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def need_programs(*names: str) -> None:
    """Ends with what to install if a program that the benchmark uses is not there."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = {"perf": "linux-perf", "taskset": "util-linux"}
        wanted = " ".join(packages.get(name, name) for name in missing)
        sys.exit(f"this benchmark needs {', '.join(missing)}: apt-get install {wanted}")


def peer_python(name: str, requirements: list[str]) -> Path:
    """A Python of build/bench/venv-NAME in which a peer is installed; made once for a set of requirements."""
    venv = OUTPUT / f"venv-{name}"
    stamp = venv / "requirements.txt"
    wanted = "\n".join(sorted(requirements))
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing {', '.join(requirements)} into {venv.relative_to(ROOT)}")
        subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
        command = [venv / "bin" / "pip", "install", "-q", *requirements]
        subprocess.run(command, check=True, capture_output=True, text=True)
        stamp.write_text(wanted)
    return venv / "bin" / "python"


@contextlib.contextmanager
def leaving_out(name: str, left_out: dict[str, str]) -> Iterator[None]:
    """A peer that does not install, start or answer is left out, with its error."""
    try:
        yield
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        left_out[name] = f"{error} {getattr(error, 'stderr', '') or ''}".strip()
        say(f"{name} is left out: {left_out[name][-300:]}")


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ended at the end, with all that it has started in whatever groups."""
    process: Any = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
        _kill_session(process.pid)
        process.wait()


def _kill_session(leader: int) -> None:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            session = int(stat.read_text().rpartition(")")[2].split()[3])
            if session == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def post(url: str, body: bytes, key: str | None = None) -> bytes:
    """One request; the answer's body."""
    request = urllib.request.Request(url, data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def wait_until_answers(
    url: str, body: bytes, process: subprocess.Popen[bytes], log: Path | None = None
) -> None:
    """Returns when the server answers; fails if its process ends first, or after two minutes."""
    deadline = time.monotonic() + 120
    last = ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            post(url, body)
            return
        except OSError as error:
            last = str(error)
            time.sleep(0.05)
    said = log.read_text()[-2000:] if log else ""
    raise RuntimeError(f"no server came up at {url}: {last}; {said}")


@contextlib.contextmanager
def serving_peer(
    name: str, sides: Path, folder: Path, body: bytes, core: int | None = None
) -> Iterator[tuple[int, str]]:
    """A peer that serves the app of its name in a folder of sides: its port, and its handler's path."""
    port = free_port()
    command, path = _serve(name, str(peer_python(name, SERVING_PEERS[name])), port)
    log = folder / f"{name}.log"
    environment = {
        **os.environ,
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bentoml"),
        "TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        # What Ray's guide says for throughput; of HAProxy's threads as many as there are cores.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(os.cpu_count() if core is None else 1),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
    }
    with (
        log.open("wb") as out,
        running(
            pinned(core, command), cwd=sides, env=environment, stdout=out, stderr=out
        ) as process,
    ):
        wait_until_answers(f"http://127.0.0.1:{port}{path}", body, process, log)
        yield port, path


def _serve(name: str, python: str, port: int) -> tuple[list[str], str]:
    """How a peer is started, and the path of its handler."""
    if name == "bentoml":
        command = [python, "-m", "bentoml", "serve", "bentoml_app:Work"]
        return [*command, "--host", "127.0.0.1", "--port", str(port)], "/work"
    if name == "mosec":
        command = [python, "mosec_app.py", "--address", "127.0.0.1", "--port", str(port)]
        return [*command, "--log-level", "warning"], "/inference"
    return [python, f"{name}_app.py", str(port)], {"litserve": "/predict", "ray": "/work"}[name]


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command on one core, or as it is."""
    return command if core is None else ["taskset", "-c", str(core), *command]


def options(doc: str | None, **defaults: float | str) -> argparse.Namespace:
    """A benchmark's options, of the defaults' types. From then on SIGTERM ends it as Ctrl-C does."""
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


def write(
    name: str,
    figures: dict[str, float],
    raw: object,
    versions: dict[str, str],
    settings: dict[str, str] | None = None,
) -> None:
    """Writes build/bench/NAME.json and prints the figures."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    document = {
        "figures": {key: round(value, 4) for key, value in figures.items()},
        "raw": raw,
        "machine": machine(),
        "versions": versions,
        "settings": settings or {},
    }
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    for key, value in document["figures"].items():
        print(f"{key:28} {value}")
    say(f"all rounds in {path.relative_to(ROOT)}")
