"""Volumes beside the disk that they lie on: reading in a container, putting beside cp, what a commit costs.

`volume_read_vs_disk`: a large file read from its beginning to its end by a container, over the same read of the same bytes by
the host, both from the disk (the page cache is dropped before each) and again from memory. `volume_put_vs_cp`: `ember volume put` of
a large file, over `cp` and an fsync of the copy, since what is put is durable when the command ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

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
            command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
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
    block = os.urandom(64 << 20)
    with path.open("wb", buffering=0) as file:
        for begin in range(0, size, len(block)):
            number = begin.to_bytes(8, "little")
            file.write((number + block[8:])[: size - begin])
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


def timed(action: object, *arguments: object) -> float:
    """How long it took, in seconds."""
    began_s = time.perf_counter()
    action(*arguments)  # type: ignore[operator]
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


def main() -> None:
    options = common.options(__doc__, rounds=5, gigabytes=4.0)
    if os.geteuid() != 0:
        sys.exit("this benchmark starts containers: run it as root")
    size = int(options.gigabytes * 2**30)
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp"))
        )
        os.chmod(folder, 0o755)
        ember = Ember(folder / "data")
        ember.cli("up", "--listen", f"127.0.0.1:{common.free_port()}")
        stack.callback(ember.cli, "down", "--now")
        ember.cli("volume", "create", "bench")
        large, copy = folder / "large", folder / "copy"
        rounds: dict[str, list[dict[str, float]]] = {"put": [], "cp": [], "read": [], "disk": []}
        warm: dict[str, list[dict[str, float]]] = {"read": [], "disk": []}
        for number in range(options.rounds):
            write_random(large, size)
            with large.open("r+b") as file:  # other bytes each time: none is there already
                for begin in range(0, size, 8 << 20):
                    file.seek(begin)
                    file.write(os.urandom(16))
                os.fsync(file.fileno())
            sides = {
                "cp": lambda: copy_durably(large, copy),
                "put": lambda: ember.cli("volume", "put", "bench", large, "large"),
            }
            for name in sorted(sides, reverse=number % 2 == 1):
                os.sync()
                rounds[name].append({"s": timed(sides[name])})
                common.say(f"  round {number + 1}  {name:6} {rounds[name][-1]['s']:.2f} s")
            copy.unlink()
        ember.cli("deploy", SIDES / "ember_app.py")
        ember.call("read", path="large")
        blob = next(
            path
            for path in (ember.data / "serve" / "volumes" / "layers").rglob("large")
            if path.stat().st_size == size
        )
        for number in range(options.rounds):
            readers = {
                "disk": lambda: read_here(blob),
                "read": lambda: ember.call("read", path="large"),
            }
            for name in sorted(readers, reverse=number % 2 == 1):
                drop_caches()
                rounds[name].append({"s": readers[name]()})
                warm[name].append({"s": readers[name]()})
                common.say(f"  round {number + 1}  {name:6} {rounds[name][-1]['s']:.2f} s")
        large.unlink()
        figures = {
            "volume_read_vs_disk": common.ratio(rounds["disk"], rounds["read"], "s"),
            "volume_read_vs_disk_in_memory": common.ratio(warm["disk"], warm["read"], "s"),
            "volume_read_mb_s": size / 1e6 / common.median(rounds["read"], "s"),
            "volume_put_vs_cp": common.ratio(rounds["cp"], rounds["put"], "s"),
            "volume_put_mb_s": size / 1e6 / common.median(rounds["put"], "s"),
        }
        ember.cli("volume", "rm", "bench", "large")

        tree = folder / "tree"
        make_tree(tree, 10_000)
        first_s = timed(ember.cli, "volume", "put", "bench", tree, "/tree")
        again = [
            {"ms": 1e3 * timed(ember.cli, "volume", "put", "bench", tree, "/tree")}
            for _ in range(options.rounds)
        ]
        many = folder / "many"
        make_tree(many, 90_000)
        ember.cli("volume", "put", "bench", many, "/many")
        shutil.rmtree(many)
        ember.cli("app", "stop", APP)
        ember.cli("deploy", SIDES / "ember_app.py")  # containers that see all of it
        ember.call("change", path="tree/d0/f0")
        commits = [
            {"ms": 1e3 * ember.call("change", path=f"many/d{number}/f1")}
            for number in range(4 * options.rounds)
        ]
        figures |= {
            "first_put_ms": 1e3 * first_s,
            "second_put_ms": common.median(again, "ms"),
            "commit_ms": common.median(commits, "ms"),
            "commit_max_ms": max(one["ms"] for one in commits),
        }
        raw = {**rounds, "warm": warm, "again": again, "commits": commits}
    common.write("volumes", figures, raw, {"cp": common.output_of("cp", "--version")})


if __name__ == "__main__":
    main()
