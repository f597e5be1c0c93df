"""The first call of a function at zero: the caller's time by phase, beside the floors of the same machine.

The floors: a bare clone3 and exec; `python3 -S -c pass`; python3 with the imports of our runner; and the same
under `crun run` with the very configuration that Ember writes: namespaces, users, limits, seccomp, network. What
`plain_vs_floor` puts below the line is that `crun run`, from its exec to its end.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import common

SIDES = Path(__file__).resolve().parent / "coldstart_sides"
APP = "bench-coldstart"
# What the runner of a plain function has imported when it is ready for inputs, but for the user's own module.
IMPORTS = "import faulthandler, ember._signature, ember.runner.__main__, ember.runner._sync"


class Ember:
    """A server with the benchmark's app, as its caller sees it."""

    def __init__(self, url: str, data: Path) -> None:
        self.address = url.removeprefix("http://")
        self.data = data
        self.key = (data / "key").read_text().strip()

    def request(
        self, method: str, path: str, body: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own; its answer and the answer's body."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            said = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {said.decode()}")
        return answer, said

    def wait_for_zero(self) -> None:
        """Returns when no container is left but the pattern."""
        while len(self._containers()) > 1:
            time.sleep(0.002)

    def pattern(self, app: str) -> Path:
        """The directory of the container that stays, once it is up."""
        self.request("POST", f"/fn/{app}/pattern", "{}")
        (container,) = self._containers()
        return self.data / "node" / "containers" / container["container_id"]

    def _containers(self) -> list[dict]:
        return json.loads(self.request("GET", "/api/v1/containers")[1])["containers"]

    def cold_call(self) -> dict[str, float]:
        """A call to the function at zero: the caller's time, and what Ember says of it by phase."""
        self.wait_for_zero()
        common.wait_until_idle(None, limit_s=1)
        began_s = time.perf_counter()
        answer, _ = self.request("POST", f"/fn/{APP}/nothing", "{}")
        took_ms = (time.perf_counter() - began_s) * 1e3
        call = json.loads(
            self.request("GET", f"/api/v1/calls/{answer.headers['Ember-Call-Id']}")[1]
        )
        if call["start_us"] is None:
            sys.exit("the function was not at zero")
        steps_us = {**call["start_us"], "first_result": call["execute_us"]}
        phases = {f"{name}_ms": us / 1e3 for name, us in steps_us.items()}
        # HTTP and what lies between the steps.
        return {"ms": took_ms, **phases, "rest_ms": took_ms - sum(phases.values())}


def spawned(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """A program, from its start to its end."""
    began_s = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment)
    _, status = os.waitpid(pid, 0)
    took_ms = (time.perf_counter() - began_s) * 1e3
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with {status}")
    return {"ms": took_ms}


@contextlib.contextmanager
def crun_floor(
    container: Path, node: int, name: str = "floor"
) -> Iterator[Callable[[], dict[str, float]]]:
    """`crun run` in a mount namespace that is ready for it: a measurement each time it is called."""
    command = ["unshare", "--mount", "--propagation", "private", "/usr/bin/python3", "-S"]
    process = subprocess.Popen(
        [*command, str(SIDES / "crun_floor.py"), str(container), str(node), name, IMPORTS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def measure() -> dict[str, float]:
        stdin.write("once\n")
        stdin.flush()
        line = stdout.readline()
        return json.loads(line) if line else sys.exit("the crun floor ended")

    try:
        yield measure
    finally:
        stdin.close()
        process.wait()


def main() -> None:
    options = common.options(__doc__, rounds=30)
    common.need_programs("crun", "unshare")
    if os.geteuid() != 0:
        sys.exit("this benchmark starts containers: run it as root")
    python_path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(common.ROOT / "python")}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp")
        )
        os.chmod(folder, 0o755)
        data = Path(folder) / "data"
        url = stack.enter_context(common.ember(data, SIDES / "ember_app.py"))
        ember = Ember(url, data)
        node = int((data / "node.pid").read_text())
        floor = stack.enter_context(crun_floor(ember.pattern(APP), node))
        python = "/usr/bin/python3"
        samples = common.alternate(
            {
                "ember": ember.cold_call,
                "crun": floor,
                "python_imports": functools.partial(spawned, [python, "-c", IMPORTS], python_path),
                "python": functools.partial(spawned, [python, "-S", "-c", "pass"], python_path),
                "clone_exec": functools.partial(spawned, ["/usr/bin/true"], {}),
            },
            options.rounds,
            None,
            rest_s=1,
        )
    ours = samples["ember"]
    figures = {
        "plain_vs_floor": common.ratio(ours, samples["crun"], "ms"),
        "cold_ms": common.median(ours, "ms"),
    }
    figures |= {
        f"phase_{name}": common.median(ours, name) for name in ours[0] if name not in ("ms",)
    }
    figures["floor_crun_until_imported_ms"] = common.median(samples["crun"], "ready_ms")
    figures |= {
        f"floor_{name}_ms": common.median(rounds, "ms")
        for name, rounds in samples.items()
        if name != "ember"
    }
    common.write(
        "coldstart", figures, samples,
        {"python": common.output_of(python, "-V"), "crun": common.output_of("crun", "--version")},
    )  # fmt: skip


if __name__ == "__main__":
    main()
