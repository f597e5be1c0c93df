"""Volumes beside the disk that they lie on: reading in a container, putting beside cp, what a commit costs.

`volume_read_vs_disk`: a large file read from its beginning to its end by a container, over the same read of the same bytes by
the host, both from the disk (the page cache is dropped before each) and again from memory. `volume_put_vs_cp`: `ember volume put` of
a large file that nobody has put before, over `cp` and an fsync of the copy, since what is put is durable when the command
ends. `second_put_ms`: an unchanged tree of 10,000 files. `commit_ms`: one changed file among 100,000.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import common

SIDES = Path(__file__).resolve().parent / "volumes_sides"
APP = "bench-volumes"
_CHUNK_BYTES = 1 << 20


class Ember:
    """The server under test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.environment = {**os.environ, "EMBER_DATA": str(data)}

    def cli(self, *words: str | Path) -> str:
        command = [str(common.EMBER), *map(str, words)]
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def call(self, function: str, **arguments: object) -> float:
        key = (self.data / "key").read_text().strip()
        address = (self.data / "url").read_text().strip().removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=600)
        with contextlib.closing(connection):
            connection.request(
                "POST",
                f"/fn/{APP}/{function}",
                json.dumps(arguments),
                {"Authorization": f"Bearer {key}"},
            )
            answer = connection.getresponse()
            said = answer.read()
        return json.loads(said) if answer.status == 200 else sys.exit(said.decode())


def write_random(path: Path, size: int) -> None:
    """A file that nothing can make smaller, on the disk."""
    with path.open("wb", buffering=0) as file:
        for begin in range(0, size, 64 << 20):
            file.write(os.urandom(min(64 << 20, size - begin)))
        os.fsync(file.fileno())


def renew(path: Path) -> None:
    """Other bytes in each piece that is looked at by itself: none is there already."""
    with path.open("r+b") as file:
        for begin in range(0, path.stat().st_size, 1 << 20):
            file.seek(begin)
            file.write(os.urandom(16))
        os.fsync(file.fileno())


def drop_caches() -> None:
    """What is read next comes from the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def read_here(path: Path) -> float:
    """The same read as the container's."""
    buffer = bytearray(_CHUNK_BYTES)
    began_s = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began_s


def timed(action: Callable[..., object], *arguments: object) -> float:
    """How long it took, in seconds."""
    began_s = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began_s


def copy_durably(source: Path, target: Path) -> None:
    """cp, and what makes it as durable as a put."""
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def make_tree(root: Path, files: int) -> None:
    """Small files in directories of a hundred."""
    for number in range(files):
        directory = root / f"d{number // 100}"
        if number % 100 == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number % 100}").write_text(f"{number}\n" * 50)


Rounds = dict[str, list[dict[str, float]]]


def put_rounds(ember: Ember, folder: Path, size: int, rounds: int) -> Rounds:
    """The same file put and copied, in turn."""
    common.say(f"putting {size / 2**30:g} GiB, and cp of them")
    large, copy = folder / "large", folder / "copy"
    sides = {
        "cp": lambda: copy_durably(large, copy),
        "put": lambda: ember.cli("volume", "put", "bench", large, "large"),
    }
    samples: Rounds = {name: [] for name in sides}
    write_random(large, size)
    for number in range(rounds):
        renew(large)
        for name in sorted(sides, reverse=number % 2 == 1):
            os.sync()
            samples[name].append({"s": timed(sides[name])})
            common.say(f"  round {number + 1}/{rounds}  {name:4} {samples[name][-1]['s']:.2f} s")
        copy.unlink()
    large.unlink()
    return samples


def read_rounds(ember: Ember, folder: Path, size: int, rounds: int) -> tuple[Rounds, Rounds]:
    """One file read by a container and by this process, in turn: from the disk, then from memory."""
    common.say(f"reading {size / 2**30:g} GiB in a container, and here")
    large = folder / "large"
    write_random(large, size)
    ember.cli("volume", "put", "bench", large, "large")
    ember.cli("volume", "put", "bench", __file__, "small")
    large.unlink()
    ember.cli("deploy", SIDES / "ember_app.py")
    ember.call("read", path="small")  # its container stays
    layers = ember.data / "serve" / "volumes" / "layers"
    blob = next(path for path in layers.rglob("large") if path.stat().st_size == size)
    sides = {"disk": lambda: read_here(blob), "read": lambda: ember.call("read", path="large")}
    cold: Rounds = {name: [] for name in sides}
    warm: Rounds = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=number % 2 == 1):
            drop_caches()
            cold[name].append({"s": sides[name]()})
            read_here(blob)  # a container's own memory holds less than the file
            warm[name].append({"s": sides[name]()})
            shown = f"{cold[name][-1]['s']:.2f} s, from memory {warm[name][-1]['s']:.2f} s"
            common.say(f"  round {number + 1}/{rounds}  {name:4} {shown}")
    ember.cli("app", "stop", APP)
    return cold, warm


def tree_rounds(ember: Ember, folder: Path, files: int, rounds: int) -> tuple[float, Rounds]:
    """A tree put once and then again, unchanged: how long the first took, in ms, and the others."""
    common.say(f"putting a tree of {files:,} files")
    tree = folder / "tree"
    make_tree(tree, files)
    first_ms, *again_ms = (
        1e3 * timed(ember.cli, "volume", "put", "bench", tree, "/tree") for _ in range(rounds + 1)
    )
    common.say(f"  first {first_ms:.0f} ms, again {again_ms[0]:.0f} ms")
    return first_ms, {"again": [{"ms": ms} for ms in again_ms]}


def commit_rounds(ember: Ember, folder: Path, files: int, rounds: int) -> Rounds:
    """Commits of one changed file each, in a container that sees so many."""
    common.say(f"one changed file among {files:,} more")
    many = folder / "many"
    make_tree(many, files)
    ember.cli("volume", "put", "bench", many, "/many")
    ember.cli("deploy", SIDES / "ember_app.py")
    ember.call("change", path="many/d0/f0")
    took_s = [ember.call("change", path=f"many/d{number}/f1") for number in range(rounds)]
    return {"commits": [{"ms": 1e3 * one_s} for one_s in took_s]}


def main() -> None:
    """Measure, and write the figures."""
    options = common.options(__doc__, rounds=3, commits=20, gigabytes=4.0, put_gigabytes=4.0)
    if os.geteuid() != 0:
        sys.exit("this benchmark starts containers: run it as root")
    size, put_size = (int(one * 2**30) for one in (options.gigabytes, options.put_gigabytes))
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp"))
        )
        folder.chmod(0o755)
        ember = Ember(folder / "data")
        stack.callback(ember.cli, "down", "--now")
        ember.cli("up", "--listen", f"127.0.0.1:{common.free_port()}")
        ember.cli("volume", "create", "bench")
        put = put_rounds(ember, folder, put_size, options.rounds)
        cold, warm = read_rounds(ember, folder, size, options.rounds)
        first_ms, again = tree_rounds(ember, folder, 10_000, options.rounds)
        commits = commit_rounds(ember, folder, 90_000, options.commits)
        figures = {
            "volume_read_vs_disk": common.ratio(cold["disk"], cold["read"], "s"),
            "volume_read_vs_disk_in_memory": common.ratio(warm["disk"], warm["read"], "s"),
            "volume_read_mb_s": size / 1e6 / common.median(cold["read"], "s"),
            "volume_put_vs_cp": common.ratio(put["cp"], put["put"], "s"),
            "volume_put_mb_s": put_size / 1e6 / common.median(put["put"], "s"),
            "first_put_ms": first_ms,
            "second_put_ms": common.median(again["again"], "ms"),
            "commit_ms": common.median(commits["commits"], "ms"),
            "commit_max_ms": max(one["ms"] for one in commits["commits"]),
        }
        raw = {**put, **cold, "warm": warm, **again, **commits}
        common.write("volumes", figures, raw, {"cp": common.output_of("cp", "--version")})


if __name__ == "__main__":
    main()
