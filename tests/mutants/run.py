#!/usr/bin/python3
"""Proves that the simulator finds bugs: applies each patch of this folder to a scratch copy of the
engine, builds ember-sim there, and requires that it finds a violation within 400 seeds.

A patch that does not apply, does not build or is not found is a failure: the engine has moved away
from it, or a checker has gone blind.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATCHES = Path(__file__).resolve().parent
FOLDERS = ["base", "model", "queue", "autoscaler", "scheduler", "billing", "engine", "sim"]
SEEDS = 400
RUN_LIMIT_S = 120
FOUND = re.compile(r"^seed (\d+): (violation|assertion)", re.MULTILINE)
INVARIANT = re.compile(r"^\s+invariant: (.*)$", re.MULTILINE)


class Broken(Exception):
    """This mutant could not be tried; the message says why."""


def source_files() -> list[Path]:
    """What ember-sim is built from."""
    files = [ROOT / "src/app/sim_main.cc", *(ROOT / "cmake").glob("*.cmake")]
    for folder in FOLDERS:
        files += (p for p in (ROOT / "src" / folder).iterdir() if p.is_file())
    return sorted(p for p in files if not p.name.endswith("_test.cc"))


class Workshop:
    """A scratch copy of the sources with a build folder of its own."""

    def __init__(self, directory: Path) -> None:
        self.sources = directory / "tree"
        self.build = directory / "build"

    def prepare(self) -> None:
        """Makes the copy equal to the sources, touching only what differs."""
        wanted = {"CMakeLists.txt": PATCHES / "project.cmake"}
        for path in source_files():
            wanted[str(path.relative_to(ROOT))] = path
        for old in [p for p in self.sources.rglob("*") if p.is_file()]:
            if str(old.relative_to(self.sources)) not in wanted:
                old.unlink()
        for name, source in wanted.items():
            target = self.sources / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source.read_bytes()
            if not target.exists() or target.read_bytes() != content:
                target.write_bytes(content)
        self._run("cmake", "-S", self.sources, "-B", self.build, "-G", "Ninja")

    def compile(self) -> None:
        self._run("ninja", "-C", self.build, "-j1", "ember-sim")

    def patch(self, patch: Path, *, undo: bool = False) -> None:
        direction = ["--reverse"] if undo else []
        self._run(
            "patch",
            "--strip=1",
            "--batch",
            "--fuzz=0",
            "--silent",
            *direction,
            "--directory",
            self.sources,
            "--input",
            patch,
        )

    def simulate(self) -> str:
        """What ember-sim prints for the seeds, up to the first that fails."""
        command = [self.build / "bin/ember-sim", "--seeds", str(SEEDS), "--until-violation"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"the simulator did not end within {RUN_LIMIT_S} s") from None
        if done.returncode not in (0, 1):
            raise Broken(f"the simulator ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    @staticmethod
    def _run(*command: str | Path) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            tail = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise Broken(f"{command[0]} failed:\n{tail}")


def try_mutant(workshop: Workshop, patch: Path) -> str:
    """Says at which seed the mutant was found."""
    workshop.patch(patch)
    try:
        workshop.compile()
        output = workshop.simulate()
    finally:
        workshop.patch(patch, undo=True)
    found = FOUND.search(output)
    if not found:
        raise Broken(f"not found within {SEEDS} seeds")
    invariant = INVARIANT.search(output)
    what = invariant.group(1) if invariant else "an assertion of the engine"
    return f"found at seed {found.group(1)} ({what})"


def work(workshop: Workshop, patches: queue.SimpleQueue[Path], report: Report) -> None:
    workshop.prepare()
    while True:
        try:
            patch = patches.get_nowait()
        except queue.Empty:
            return
        try:
            report.add(patch.stem, try_mutant(workshop, patch), passed=True)
        except Broken as why:
            report.add(patch.stem, f"NOT FOUND: {why}", passed=False)


class Report:
    """Prints results as they come and counts them; shared by the workers."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self._lock = threading.Lock()

    def add(self, name: str, text: str, *, passed: bool) -> None:
        with self._lock:
            print(f"{name}: {text}", flush=True)
            self.passed += passed
            self.failed += not passed


def check_clean(workshop: Workshop) -> None:
    """Without a mutant nothing may be found: else the finds would prove nothing."""
    workshop.prepare()
    workshop.compile()
    output = workshop.simulate()
    if FOUND.search(output):
        raise Broken(f"the engine as it is breaks an invariant:\n{output.strip()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants to try (default: all)")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "mutants")
    parser.add_argument("--clean", action="store_true", help="throw the scratch copies away first")
    options = parser.parse_args()

    patches = sorted(PATCHES.glob("*.patch"))
    unknown = set(options.names) - {patch.stem for patch in patches}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if options.clean:
        shutil.rmtree(options.directory, ignore_errors=True)
    todo: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for patch in patches:
        if not options.names or patch.stem in options.names:
            todo.put(patch)

    begun = time.monotonic()
    workshops = [Workshop(options.directory / f"worker-{i}") for i in range(options.jobs)]
    try:
        check_clean(workshops[0])
    except Broken as why:
        print(why, file=sys.stderr)
        return 1
    report = Report()
    workers = [threading.Thread(target=work, args=(shop, todo, report)) for shop in workshops]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
