"""A warm call, JSON in and JSON out, through the whole of Ember, beside FastAPI and nginx.

Ember: HTTP, key, engine, metering, the runner's process and back. FastAPI: bare, under uvicorn with uvloop and httptools
and without logs, the same handler three ways: with a plain return, with its return type declared, with JSONResponse.
nginx: a proxy to itself, which runs no code at all. Every server side has one core and wrk the other; once more unpinned.
`added_p50_us` is what Ember adds to the runner's bare socket round trip.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import common

SIDES = Path(__file__).resolve().parent / "warm_call_sides"
PEERS = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0"]
SERVER_CORE, LOAD_CORE = 0, 1


def bodies(folder: Path) -> dict[str, Path]:
    """Request bodies by name: lists of five-field objects, of 64 bytes, 10 KB and 1 MB in all."""
    small = [{"id": 1, "name": "ember call", "x": 0.5, "ok": True, "n": 0}]
    files = {"64": small, "10k": objects(10_000), "1m": objects(1_000_000)}
    paths = {}
    for name, items in files.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(json.dumps({"items": items}, separators=(",", ":")))
    return paths


def objects(size_bytes: int) -> list[dict[str, object]]:
    """Objects of five fields that take about so many bytes as JSON."""
    items: list[dict[str, object]] = []
    written = 0
    while written < size_bytes:
        i = len(items)
        items.append(
            {"id": i, "name": f"item {i}", "score": i / 7, "ok": i % 2 == 0, "tag": "ember"}
        )
        written += len(json.dumps(items[-1], separators=(",", ":"))) + 1
    return items


def post(url: str, body: bytes, key: str | None) -> bytes:
    """One request; the answer's body."""
    request = urllib.request.Request(url, data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def wait_until_answers(url: str, body: bytes, process: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers; fails if its process ends first."""
    deadline = time.monotonic() + 30
    while True:
        try:
            post(url, body, None)
            return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no server came up at {url}")
            time.sleep(0.05)


@contextlib.contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that is ended at the end."""
    process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def ember(core: int | None, folder: Path) -> Iterator[tuple[str, str]]:
    """Ember with the echo function deployed and one container ready: its URL and key."""
    with common.ember(folder, SIDES / "ember_app.py", core) as url:
        yield f"{url}/fn/bench-warm-call/echo", (folder / "key").read_text().strip()


@contextlib.contextmanager
def fastapi(core: int | None, python: Path, body: bytes) -> Iterator[str]:
    """FastAPI under uvicorn; its base URL."""
    port = common.free_port()
    command = [
        str(python),
        "-m",
        "uvicorn",
        "fastapi_app:app",
        "--port",
        str(port),
        "--loop",
        "uvloop",
    ]
    command += [
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "critical",
        "--workers",
        "1",
    ]
    with running(common.pinned(core, command), cwd=SIDES) as process:
        wait_until_answers(f"http://127.0.0.1:{port}/plain", body, process)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx(core: int | None, folder: Path, body: bytes) -> Iterator[str]:
    """nginx proxying to itself; it answers with the items it would have been sent."""
    front, back = common.free_port(), common.free_port()
    answer = json.dumps(json.loads(body)["items"], separators=(",", ":"))
    text = (SIDES / "nginx.conf").read_text()
    text = (
        text.replace("@FRONT@", str(front)).replace("@BACK@", str(back)).replace("@BODY@", answer)
    )
    folder.mkdir()
    (folder / "nginx.conf").write_text(text)
    if os.geteuid() == 0:
        (folder / "nginx.conf").write_text("user root;\n" + text)
    command = common.pinned(core, ["nginx", "-p", str(folder), "-c", "nginx.conf"])
    with running(command) as process:
        wait_until_answers(f"http://127.0.0.1:{front}/", body, process)
        yield f"http://127.0.0.1:{front}/"


class Load:
    """wrk against one URL after another."""

    def __init__(self, core: int | None, seconds: int) -> None:
        self.core = core
        self.seconds = seconds

    def __call__(self, url: str, body: Path, connections: int, key: str | None) -> dict[str, float]:
        """One round: requests a second and latencies."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{self.seconds}s", "--timeout", "30s"]
        command += ["-s", str(SIDES / "load.lua"), url, "--", str(body), *([key] if key else [])]
        done = subprocess.run(common.pinned(self.core, command), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"wrk failed: {done.stderr or done.stdout}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        if not result["requests"]:
            sys.exit(f"no answer of {url} in {self.seconds:g} s")
        if result["bad"]:
            sys.exit(f"{result['bad']} of {result['requests']} answers of {url} were not good")
        return {
            "rps": result["requests"] / result["duration_us"] * 1e6,
            "p50_us": float(result["p50_us"]),
            "p99_us": float(result["p99_us"]),
        }


def runner_floor(
    core: int | None, load_core: int | None, body: Path, seconds: float
) -> dict[str, float]:
    """The runner's bare round trip: its frames over a Unix socket, no HTTP, no engine, nobody between."""
    program = str(common.ROOT / "build" / "bin" / "ember-runner-floor")
    # The runner is started on the servers' core, the program that drives it on the load's, as wrk is.
    command = [program, str(SIDES / "ember_app.py"), str(body), f"{seconds:g}"]
    command.append("-" if core is None else str(core))
    environment = {**os.environ, "PYTHONPATH": runner_path()}
    done = subprocess.run(
        common.pinned(load_core, command),
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return json.loads(done.stdout)


def runner_path() -> str:
    """Where the runner finds ember and cloudpickle."""
    script = "import cloudpickle, os; print(os.path.dirname(os.path.dirname(cloudpickle.__file__)))"
    python = str(common.ROOT / ".venv" / "bin" / "python")
    site = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    return f"{common.ROOT / 'python'}:{site.stdout.strip()}"


def check_same(urls: dict[str, tuple[str, str | None]], body: Path) -> None:
    """Every side must give the same JSON for the same body, or the comparison means nothing."""
    wanted = json.loads(body.read_bytes())["items"]
    for name, (url, key) in urls.items():
        if json.loads(post(url, body.read_bytes(), key)) != wanted:
            sys.exit(f"{name} does not give the items back")


def measure(
    python: Path,
    folder: Path,
    core: int | None,
    load: Load,
    rounds: int,
    cases: list[tuple[str, int]],
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """All sides for all cases (body, connections) on one placement of server and load."""
    files = bodies(folder)
    small = files["64"].read_bytes()
    results = {}
    with contextlib.ExitStack() as stack:
        ours, key = stack.enter_context(ember(core, folder / "ember"))
        base = stack.enter_context(fastapi(core, python, small))
        proxy = stack.enter_context(nginx(core, folder / "nginx", small))
        urls: dict[str, tuple[str, str | None]] = {
            "ember": (ours, key),
            "fastapi": (f"{base}/plain", None),
            "fastapi_typed": (f"{base}/typed", None),
            "fastapi_json_response": (f"{base}/json_response", None),
        }
        for size, connections in cases:
            if size == "64":
                urls["nginx"] = (proxy, None)
            else:
                urls.pop("nginx", None)
            sides: dict[str, Callable[[], dict[str, float]]] = {
                name: functools.partial(load, url, files[size], connections, secret)
                for name, (url, secret) in urls.items()
            }
            if size == "64" and connections == 1:
                sides["runner_floor"] = functools.partial(
                    runner_floor, core, load.core, files[size], load.seconds
                )
            check_same(urls, files[size])
            common.say(
                f"{size} bytes, {connections} connections, {'pinned' if core is not None else 'unpinned'}"
            )
            results[f"{size}_c{connections}"] = common.alternate(sides, rounds, core)
    return results


def figures(pinned: dict, unpinned: dict) -> dict[str, float]:
    """The figures that the project is held to, and the absolutes beside them."""
    many, one = pinned["64_c32"], pinned["64_c1"]
    free = unpinned["64_c32"]
    result = {
        "rps_vs_fastapi": common.ratio(many["ember"], many["fastapi"], "rps"),
        "rps_vs_fastapi_json_response": common.ratio(
            many["ember"], many["fastapi_json_response"], "rps"
        ),
        "rps_vs_fastapi_typed": common.ratio(many["ember"], many["fastapi_typed"], "rps"),
        "rps_vs_nginx_proxy": common.ratio(many["ember"], many["nginx"], "rps"),
        "p50_vs_fastapi": common.ratio(one["ember"], one["fastapi"], "p50_us"),
        "added_p50_us": common.median(one["ember"], "p50_us")
        - common.median(one["runner_floor"], "p50_us"),
        "rps_vs_fastapi_unpinned": common.ratio(free["ember"], free["fastapi"], "rps"),
    }
    for case, name in {"10k_c32": "10k", "1m_c1": "1m", "1m_c32": "1m_c32"}.items():
        if case in pinned:
            for peer in ("fastapi", "fastapi_typed"):
                result[f"rps_vs_{peer}_{name}"] = common.ratio(
                    pinned[case]["ember"], pinned[case][peer], "rps"
                )
    for side, samples in many.items():
        result[f"{side}_rps"] = common.median(samples, "rps")
    for side, samples in one.items():
        result[f"{side}_p50_us"] = common.median(samples, "p50_us")
    return result


def main() -> None:
    options = common.options(__doc__, rounds=5, seconds=2)
    common.need_programs("wrk", "nginx", "taskset")
    if (os.cpu_count() or 1) < 2:
        sys.exit("this benchmark needs two cores: one for the servers, one for the load")
    python = common.peers_venv(PEERS)
    cases = [("64", 32), ("64", 1), ("10k", 32), ("1m", 1), ("1m", 32)]
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        folder = Path(temporary)
        (folder / "pinned").mkdir()
        load = Load(LOAD_CORE, options.seconds)
        pinned = measure(python, folder / "pinned", SERVER_CORE, load, options.rounds, cases)
        (folder / "unpinned").mkdir()
        load = Load(None, options.seconds)
        unpinned = measure(python, folder / "unpinned", None, load, options.rounds, [("64", 32)])
    versions = {
        "python": sys.version.split()[0],
        "peers": ", ".join(PEERS),
        "nginx": common.output_of("nginx", "-v"),
        "wrk": common.output_of("wrk", "-v"),
    }
    common.write(
        "warm_call", figures(pinned, unpinned), {"pinned": pinned, "unpinned": unpinned}, versions
    )


if __name__ == "__main__":
    main()
