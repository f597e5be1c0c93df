"""`crun run` of a bare interpreter under the very configuration that Ember wrote for a container that lives.

Runs in a mount namespace of its own, as root: crun_floor.py CONTAINER_DIRECTORY NODE_PID NAME CODE. The stage is set
once, ahead; the configuration's mounts, users, limits, seccomp filter and network stay as they are, only the
program is another: python3, with no init and no runner, that executes CODE and says so. For each line on stdin,
one run, and one line of JSON on stdout: milliseconds until the program had executed CODE, and until crun ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

STAGE = Path("/mnt")
UNIFIED = "/sys/fs/cgroup/unified"
MS_BIND, MS_REC = 4096, 16384

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    """mount(2)."""

    def encoded(text: str | None) -> bytes | None:
        return text.encode() if text is not None else None

    if libc.mount(source.encode(), target.encode(), encoded(kind), flags, encoded(options)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)


def host_paths(container: Path, node: int) -> dict[str, str]:
    """Where the directories of a container's stage lie on this machine, by name."""
    words = Path(f"/proc/{node}/cmdline").read_text().split("\0")
    flags = [after for flag, after in zip(words, words[1:]) if flag == "--python"]
    paths = {
        f"python-{name}": directory for name, _, directory in (f.partition("=") for f in flags)
    }
    trees = (container.parent.parent / "rootfs").iterdir()
    paths["rootfs"] = str(next(tree for tree in trees if (tree / "usr").is_dir()))
    paths["run"] = str(container / "run")
    paths["source"] = str(container / "run")  # what lies there is not looked at
    return paths | {name: f"/etc/{name}" for name in ("ssl", "alternatives")}


def set_stage(config: dict, paths: dict[str, str]) -> None:
    """The directories where the configuration expects them."""
    places = [config["root"]["path"], *(one["source"] for one in config["mounts"])]
    mount("floor", str(STAGE), "tmpfs", 0, "mode=0755")
    for place in map(Path, places):
        if place.parent == STAGE:
            place.mkdir()
            mount(paths[place.name], str(place), None, MS_BIND | MS_REC, None)


def bundle(config: dict, name: str, code: str) -> str:
    """A bundle for the same container with another program."""
    config["process"]["args"] = ["/usr/bin/python3", "-c", f"{code}; print()"]
    if "cgroupsPath" in config["linux"]:
        config["linux"]["cgroupsPath"] = str(Path(config["linux"]["cgroupsPath"]).parent / name)
    directory = STAGE / "bundle"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    return str(directory)


def run(name: str, directory: str, manager: str) -> dict[str, float]:
    """One run of crun."""
    command = ["crun", "--root", f"{STAGE}/crun", "--cgroup-manager", manager]
    began_s = time.perf_counter()
    # A pipe, not /dev/null, which is the machine's: crun gives its input to the container's user.
    process = subprocess.Popen(
        [*command, "run", "--bundle", directory, name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    said = process.stdout.read(1)
    ready_s = time.perf_counter()
    status = process.wait()
    ended_s = time.perf_counter()
    process.stdout.close()
    if status != 0 or said != b"\n":
        sys.exit(f"crun ended with {status}")
    return {"ready_ms": (ready_s - began_s) * 1e3, "ms": (ended_s - began_s) * 1e3}


def main() -> None:
    container, node, name, code = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    config = json.loads((container / "config.json").read_text())
    set_stage(config, host_paths(container, node))
    manager = "cgroupfs" if "cgroupsPath" in config["linux"] else "disabled"
    directory = bundle(config, name, code)
    if os.path.ismount(UNIFIED) and os.path.isdir("/sys/fs/cgroup/memory"):
        mount("floor", UNIFIED, "tmpfs", 0, None)  # crun refuses a v2 hierarchy beside v1 ones
    for _ in sys.stdin:
        print(json.dumps(run(name, directory, manager)), flush=True)


if __name__ == "__main__":
    main()
