"""A warm call, JSON in and JSON out, through the whole of Ember, beside FastAPI, nginx and four serving systems.

Ember: HTTP, key, engine, metering, the runner's process and back. FastAPI: bare, under uvicorn with uvloop and httptools
and without logs, the same handler three ways: with a plain return, with its return type declared, with JSONResponse.
nginx: a proxy to itself, which runs no code at all. Every server side has one core and wrk the other; once more unpinned.
`added_p50_us` is what Ember adds to the runner's bare socket round trip.

Ray Serve, BentoML, LitServe and mosec run the same handler with one worker and the settings that their guides give for
throughput, which the JSON lists; mosec by single inputs and in batches, of which the faster counts. Each has its rounds
alone beside Ember, since some work while they rest. `rps_vs_best_peer` and `p50_vs_best_peer` are against the best of Ray
Serve, BentoML and LitServe. A peer that does not install, start or answer right is left out, with its error in the JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import common

SIDES = Path(__file__).resolve().parent / "warm_call_sides"
FASTAPI = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0"]
SETTINGS = {
    "fastapi": "uvicorn, 1 worker, uvloop, httptools, no access log",
    "ray": "RAY_SERVE_ENABLE_HA_PROXY=1, RAY_SERVE_THROUGHPUT_OPTIMIZED=1, as many threads of HAProxy as it has cores; "
    "1 replica, max_ongoing_requests=1000, a JSONResponse; no dashboard",
    "bentoml": "1 worker, async handler, uvloop, httptools; no access log, no metrics",
    "litserve": "1 worker, 1 API server, fast_queue (ZeroMQ), uvloop, httptools",
    "mosec": "1 worker for a path; /batched in batches of at most 32, 1 ms for them to gather; compact JSON",
}
SERVER_CORE, LOAD_CORE = 0, 1

Url = tuple[str, str | None]  # and the key to send
Case = tuple[str, int]  # a body's name, and connections
Side = Callable[[], dict[str, float]]  # runs a round
Samples = dict[str, list[dict[str, float]]]  # every round, by side


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
    with common.running(common.pinned(core, command), cwd=SIDES) as process:
        common.wait_until_answers(f"http://127.0.0.1:{port}/plain", body, process)
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
    with common.running(command) as process:
        common.wait_until_answers(f"http://127.0.0.1:{front}/", body, process)
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
            raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        if not result["requests"]:
            raise RuntimeError(f"no answer of {url} in {self.seconds:g} s")
        if result["bad"]:
            raise RuntimeError(
                f"{result['bad']} of {result['requests']} answers of {url} were not good"
            )
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


def check_same(urls: dict[str, Url], body: Path) -> None:
    """Every side must give the same JSON for the same body, or the comparison means nothing."""
    wanted = json.loads(body.read_bytes())["items"]
    for name, (url, key) in urls.items():
        if json.loads(common.post(url, body.read_bytes(), key)) != wanted:
            raise RuntimeError(f"{name} does not give the items back")


@dataclasses.dataclass
class Placement:
    """Where the servers run, on one core or anywhere, and the load; Ember with its key."""

    core: int | None
    load_core: int | None
    folder: Path
    files: dict[str, Path]
    ours: Url

    def compare(
        self, urls: dict[str, Url], case: Case, options: argparse.Namespace, **more: Side
    ) -> Samples:
        """Ember and others for a body and a number of connections, in turn."""
        size, connections = case
        load = Load(self.load_core, options.seconds)
        urls = {"ember": self.ours, **urls}
        check_same(urls, self.files[size])
        sides: dict[str, Side] = {
            name: functools.partial(load, url, self.files[size], connections, key)
            for name, (url, key) in urls.items()
        }
        placed = "pinned" if self.core is not None else "unpinned"
        common.say(f"{size} bytes, {connections} connections, {placed}")
        return common.alternate(sides | more, options.rounds, self.core)


@contextlib.contextmanager
def placement(core: int | None, load_core: int | None, folder: Path) -> Iterator[Placement]:
    """Ember on a core, and the bodies."""
    folder.mkdir()
    with ember(core, folder / "ember") as ours:
        yield Placement(core, load_core, folder, bodies(folder), ours)


def beside_fastapi(
    place: Placement, cases: list[Case], options: argparse.Namespace
) -> dict[str, Samples]:
    """Ember, FastAPI and nginx, by case."""
    python = common.peer_python("fastapi", FASTAPI)
    small = place.files["64"].read_bytes()
    results = {}
    with (
        fastapi(place.core, python, small) as base,
        nginx(place.core, place.folder / "nginx", small) as proxy,
    ):
        for size, connections in cases:
            urls: dict[str, Url] = {
                "fastapi": (f"{base}/plain", None),
                "fastapi_typed": (f"{base}/typed", None),
                "fastapi_json_response": (f"{base}/json_response", None),
            }
            more: dict[str, Side] = {}
            if size == "64":
                urls["nginx"] = (proxy, None)
            if (size, connections) == ("64", 1):
                more["runner_floor"] = functools.partial(
                    runner_floor, place.core, place.load_core, place.files[size], options.seconds
                )
            case = (size, connections)
            results[f"{size}_c{connections}"] = place.compare(urls, case, options, **more)
    return results


def beside_systems(
    place: Placement,
    names: list[str],
    cases: list[Case],
    options: argparse.Namespace,
    left_out: dict[str, str],
) -> dict[str, dict[str, Samples]]:
    """Ember and each serving system, by system and case."""
    small = place.files["64"].read_bytes()
    results: dict[str, dict[str, Samples]] = {}
    for name in names:
        with (
            common.leaving_out(name, left_out),
            common.serving_peer(name, SIDES, place.folder, small, place.core) as (port, path),
        ):
            base = f"http://127.0.0.1:{port}"
            urls: dict[str, Url] = {name: (base + path, None)}
            if name == "mosec":
                urls["mosec_batched"] = (f"{base}/batched", None)
            samples = {
                f"{case[0]}_c{case[1]}": place.compare(urls, case, options) for case in cases
            }
            results[name] = samples
    return results


def fastapi_figures(pinned: dict[str, Samples], unpinned: dict[str, Samples]) -> dict[str, float]:
    """Ember beside FastAPI and nginx, and the absolutes."""
    many, one = pinned["64_c32"], pinned["64_c1"]
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
    }
    free = unpinned["64_c32"]
    result["rps_vs_fastapi_unpinned"] = common.ratio(free["ember"], free["fastapi"], "rps")
    for case, name in {"10k_c32": "10k", "1m_c1": "1m", "1m_c32": "1m_c32"}.items():
        for peer in ("fastapi", "fastapi_typed"):
            result[f"rps_vs_{peer}_{name}"] = common.ratio(
                pinned[case]["ember"], pinned[case][peer], "rps"
            )
    for side, samples in many.items():
        result[f"{side}_rps"] = common.median(samples, "rps")
    for side, samples in one.items():
        result[f"{side}_p50_us"] = common.median(samples, "p50_us")
    return result


def system_figures(
    systems: dict[str, dict[str, Samples]], case: str, reading: str, suffix: str = ""
) -> dict[str, float]:
    """Ember over each serving system and over the best of them in one case, and the systems' absolutes."""
    best = min if reading == "rps" else max  # of ratios: the one that is hardest on Ember
    short = reading.removesuffix("_us")
    ratios: dict[str, float] = {}
    result: dict[str, float] = {}
    for name, cases in systems.items():
        sides = dict(cases[case])
        ours = sides.pop("ember")
        ratios[name] = best(common.ratio(ours, theirs, reading) for theirs in sides.values())
        for side, samples in sides.items():
            result[f"{side}_{reading}{suffix}"] = common.median(samples, reading)
    for name, ratio in ratios.items():
        result[f"{short}_vs_{name}{suffix}"] = ratio
    pythons = [ratio for name, ratio in ratios.items() if name != "mosec"]
    if pythons:
        result[f"{short}_vs_best_peer{suffix}"] = best(pythons)
    return result


def main() -> None:
    names = ["fastapi", *common.SERVING_PEERS]
    options = common.options(__doc__, rounds=4, seconds=2, sides=",".join(names))
    sides = options.sides.split(",")
    systems = [name for name in sides if name in common.SERVING_PEERS]
    common.need_programs("wrk", "nginx", "taskset")
    if (os.cpu_count() or 1) < 2:
        sys.exit("this benchmark needs two cores: one for the servers, one for the load")
    if unknown := set(sides) - set(names):
        sys.exit(f"no sides {', '.join(sorted(unknown))}: --sides={','.join(names)}")
    # The systems are far enough from Ember for shorter rounds to tell.
    brief = argparse.Namespace(
        rounds=max(1, options.rounds - 1), seconds=max(1, options.seconds // 2)
    )
    left_out: dict[str, str] = {}
    raw: dict[str, Any] = {"left_out": left_out}
    figures: dict[str, float] = {}
    many, one = ("64", 32), ("64", 1)
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        with placement(SERVER_CORE, LOAD_CORE, Path(temporary) / "pinned") as place:
            if "fastapi" in sides:
                others = [("10k", 32), ("1m", 1), ("1m", 32)]
                raw["pinned"] = beside_fastapi(place, [many, one, *others], options)
            raw["systems_pinned"] = beside_systems(place, systems, [many, one], brief, left_out)
        with placement(None, None, Path(temporary) / "unpinned") as place:
            if "fastapi" in sides:
                raw["unpinned"] = beside_fastapi(place, [many], options)
            raw["systems_unpinned"] = beside_systems(place, systems, [many], brief, left_out)
    figures |= system_figures(raw["systems_pinned"], "64_c32", "rps")
    figures |= system_figures(raw["systems_pinned"], "64_c1", "p50_us")
    figures |= system_figures(raw["systems_unpinned"], "64_c32", "rps", "_unpinned")
    if "fastapi" in sides:
        figures |= fastapi_figures(raw["pinned"], raw["unpinned"])
    versions = {
        "python": sys.version.split()[0],
        "fastapi": ", ".join(FASTAPI),
        "nginx": common.output_of("nginx", "-v"),
        "wrk": common.output_of("wrk", "-v"),
    }
    versions |= {name: ", ".join(common.SERVING_PEERS[name]) for name in systems}
    common.write("warm_call", figures, raw, versions, SETTINGS)


if __name__ == "__main__":
    main()
