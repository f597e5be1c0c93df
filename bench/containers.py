"""What containers and images cost, each figure beside its floor in the same run; as root.

sandbox_vs_crun: a static program in a container of ours over a prepared image, from the order to the program's end,
over `crun run` of the same image in a mount namespace that is ready for it. rebuild_ms: `ember image build` of an image
with nothing changed. uv_layer_vs_uv: a step uv_pip_install over `uv pip install` of the same packages into a directory,
with the same warm cache and flags.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import common

BENCH = common.ROOT / "build" / "bin" / "ember-sandbox-bench"
UV = common.ROOT / ".venv" / "bin" / "uv"
PACKAGES = ["numpy==1.26.4", "pandas==2.2.2", "pillow==10.4.0", "scikit-learn==1.5.2"]
PROGRAM = "int main(void) { return 0; }\n"


def elapsed_ms(command: list[str], environment: dict[str, str]) -> float:
    """A command, from its start to its end; it must succeed."""
    began_s = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took_ms = (time.perf_counter() - began_s) * 1e3
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return took_ms


def sandbox_rounds(directory: Path, rounds: int) -> list[dict[str, float]]:
    """The two starts, alternating; over a root of one static program."""
    root = directory / "root"
    for name in ("proc", "dev", "tmp", "run"):
        (root / name).mkdir(parents=True)
    source = directory / "nothing.c"
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-O2", "-static", "-o", root / "nothing", source], check=True)
    command = [
        BENCH, "--data", directory / "data", "--layer", root, "--program", "/nothing",
        "--rounds", str(rounds),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bench:
        try:
            said, complaint = bench.communicate()
        except BaseException:
            bench.terminate()  # it ends its containers first
            raise
    if bench.returncode != 0:
        sys.exit(f"ember-sandbox-bench: {complaint}")
    return [json.loads(line) for line in said.splitlines()]


def write_app(directory: Path, step: str) -> Path:
    """A file with an image of Debian's and one more step."""
    path = directory / "images.py"
    path.write_text(f"import ember\n\nimage = ember.Image.debian_slim()\nstepped = image{step}\n")
    return path


def uv_rounds(directory: Path, environment: dict[str, str], rounds: int) -> list[dict[str, float]]:
    """The step with an image of its own each time, and uv by itself on the same cache."""
    cache = Path(environment["EMBER_DATA"]) / "node" / "layers" / "uv" / "cache"
    measured = []
    for number in range(rounds + 1):
        names = ", ".join(map(repr, PACKAGES))
        path = write_app(directory, f".env({{'ROUND': '{number}'}}).uv_pip_install({names})")
        build = [str(common.EMBER), "image", "build", f"{path}::stepped"]
        ours_ms = elapsed_ms(build, environment)
        log = subprocess.run(
            [*build[:2], "list", "--json"], env=environment, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        layers = [layer for i in json.loads(log.stdout)["images"] for layer in i["layers"]]
        newest = max(
            (layer for layer in layers if "uv_pip_install" in layer["title"]),
            key=lambda layer: layer["built_us"],
        )
        target = cache.parent / "beside"
        bare = [
            str(UV), "pip", "install", "--target", str(target), "--python", "/usr/bin/python3",
            "--only-binary", ":all:", "--compile-bytecode", "--no-progress", *PACKAGES,
        ]  # fmt: skip
        bare_ms = elapsed_ms(bare, {**environment, "UV_CACHE_DIR": str(cache)})
        shutil.rmtree(target)
        if number > 0:  # the first fills the cache
            measured.append(
                {"layer_ms": newest["took_us"] / 1e3, "command_ms": ours_ms, "uv_ms": bare_ms}
            )
    return measured


def paired_ratio(rounds: list[dict[str, float]], ours: str, floor: str) -> float:
    """The median of the rounds' own ratios: both sides of a round met the same machine."""
    return statistics.median(one[ours] / one[floor] for one in rounds)


def main() -> None:
    """Measure, and write the figures."""
    options = common.options(__doc__, sandbox_rounds=100, rounds=20, uv_rounds=5)
    common.need_programs("crun", "mmdebstrap", "cc")
    if os.geteuid() != 0:
        sys.exit("this benchmark takes root")
    with tempfile.TemporaryDirectory(prefix="ember-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        common.say("a static program in a container")
        sandbox = sandbox_rounds(directory, options.sandbox_rounds)
        environment = {**os.environ, "EMBER_DATA": str(directory / "ember")}
        ember = str(common.EMBER)
        up = [ember, "up", "--listen", "127.0.0.1:0"]
        try:
            subprocess.run(up, env=environment, check=True, capture_output=True)
            common.say("the base, once")
            path = write_app(directory, ".run_commands('true')")
            build = [ember, "image", "build", f"{path}::stepped"]
            base_ms = elapsed_ms(build, environment)
            rebuilds = [{"ms": elapsed_ms(build, environment)} for _ in range(options.rounds)]
            common.say("packages by uv")
            uv = uv_rounds(directory, environment, options.uv_rounds)
        finally:
            subprocess.run([ember, "down"], env=environment, check=False, capture_output=True)
    common.write(
        "containers",
        {
            "sandbox_vs_crun": paired_ratio(sandbox, "ours_ms", "crun_ms"),
            "rebuild_ms": statistics.median(one["ms"] for one in rebuilds),
            "uv_layer_vs_uv": paired_ratio(uv, "layer_ms", "uv_ms"),
            "debian_slim_s": base_ms / 1e3,
        },
        {"sandbox": sandbox, "rebuild": rebuilds, "uv": uv},
        {},
    )


if __name__ == "__main__":
    main()
