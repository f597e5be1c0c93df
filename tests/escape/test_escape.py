"""Nothing that a function tries leads out of its container; without what stops it, it would.

Each way (ways.py) is tried twice by the same code (inside/): in a container of Ember's, where it
must fail, and in a control (controls.py) without the mitigations in question, where it must not.
So no test passes because an attempt is wrong. Where a machine can have no control, the test of the
control is skipped with the reason, and the attempt in Ember's container is made all the same.

Networks have tests of their own: tests/e2e/test_network.py, src/node/agent_isolation_test.cc.
"""

from __future__ import annotations

import ast
import concurrent.futures
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, wait_until
from controls import INSIDE, Controls, missing_capability, shows
from library import Library, make_library
from processes import running
from surroundings import Surroundings, surroundings_of
from ways import LIMITS, WAYS, Way, given

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOD_S = 60.0  # at most; it is ended before
PRELOAD = Path(__file__).resolve().parent / "preload"


@pytest.fixture(scope="session")
def here() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ember-escape-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@dataclass
class Container:
    """A container of Ember's that tries what it is told."""

    server: Server

    def attempt(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        answer = self.server.call("escape", "attempt", name=name, given=given)
        if answer.status == 502 and answer.code == "out_of_memory":
            return {"escaped": False, "how": answer.message}
        assert answer.status == 200, answer
        return answer.document

    def lacks(self, needed: str) -> str | None:
        """Ember's word on why this machine does not give that to containers, if so."""
        status = self.server.http("GET", "/api/v1/status").document
        if needed == "network" and "of its own" not in status["network"]:
            return status["network"]
        return next(
            (line for line in status["missing"] if needed and line.startswith(needed)), None
        )

    def exec(self, *words: str) -> list[str]:
        """The command line that runs these in it."""
        return self.server.command("container", "exec", self.directory.name, "--", *words)

    @property
    def directory(self) -> Path:
        return self._directory_of("attempt")

    @property
    def another(self) -> Path:
        return self._directory_of("another_container")

    def _directory_of(self, function: str) -> Path:
        row = next(c for c in self.server.containers("escape") if c["function"] == function)
        return self.server.data / "node" / "containers" / row["container_id"]


def deployed(server: Server, isolation: str = "") -> Container:
    if server.http("GET", "/api/v1/status").document["isolation"] != "container":
        pytest.skip("no containers on this machine: there is nothing to get out of")
    server.cli("deploy", INSIDE / "app.py", ESCAPE_ISOLATION=isolation)
    container = Container(server)
    assert container.attempt("list_directory", {"path": "/usr"})["escaped"], "it does nothing"
    return container


@pytest.fixture(scope="session")
def container(server: Server) -> Container:
    container = deployed(server)
    server.result("escape", "another_container")
    return container


@pytest.fixture(scope="session")
def controls(container: Container, here: Path) -> Controls:
    config = json.loads((container.directory / "config.json").read_text())
    return Controls(config, container.directory / "run", here)


@pytest.fixture(scope="session")
def surroundings(container: Container, here: Path) -> Iterator[Surroundings]:
    with surroundings_of(container.server, here) as made:
        made.other_socket = container.another / "run" / "runner.sock"
        yield made


every_way = pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])


@every_way
def test_it_does_not_lead_out(way: Way, container: Container, surroundings: Surroundings) -> None:
    if (why := container.lacks(way.needs)) is not None:
        pytest.skip(why)
    outcome = container.attempt(way.attempt, given(way, surroundings))
    assert "broken" not in outcome, outcome["broken"]
    assert outcome["how"] != "EEXIST", "another attempt has left something in the way"
    assert not outcome["escaped"], outcome["how"]


@every_way
def test_it_would_lead_out(way: Way, controls: Controls, surroundings: Surroundings) -> None:
    if (why := way.lacks()) is not None:
        pytest.skip(f"no control: {why}")
    if (capability := missing_capability(way.without)) is not None:
        pytest.skip(f"no control: this machine's root has no {capability}")
    removed = (*way.without, *(shows(path) for path in way.shown(surroundings)))
    outcome = controls.run(way.attempt, given(way, surroundings), removed)
    assert "broken" not in outcome, outcome["broken"]
    if outcome["how"] == "ENOSYS":
        pytest.skip(f"no control: this machine's kernel has no {way.name}")
    names = ", ".join(removal.name for removal in removed)
    assert outcome["escaped"], f"stopped by {outcome['how']}, without {names}"


def test_a_command_in_a_container_does_not_lead_out_either(
    container: Container, surroundings: Surroundings
) -> None:
    """All ways but those whose end is the container's: `ember container exec` has the same walls."""
    ways = [way for way in WAYS if way not in LIMITS and container.lacks(way.needs) is None]
    asked = [json.dumps([way.attempt, json.dumps(given(way, surroundings))]) for way in ways]
    done = subprocess.run(
        container.exec("/usr/bin/python3", "/source/attempts.py"), input="\n".join(asked),
        env=container.server.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    outcomes = map(json.loads, done.stdout.splitlines())
    ended = {way.name: outcome for way, outcome in zip(ways, outcomes, strict=True)}
    assert {
        name: outcome
        for name, outcome in ended.items()
        if outcome["escaped"] or "broken" in outcome or outcome["how"] == "EEXIST"
    } == {}


def kept_in(process: int) -> dict[str, object]:
    """All that keeps a process of the machine's in, as the kernel has it."""
    at = Path(f"/proc/{process}")
    words = ("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp")
    root = (at / "root").stat()
    return {
        "rights": [
            line for line in (at / "status").read_text().splitlines() if line.startswith(words)
        ],
        "namespaces": {one.name: os.readlink(one) for one in (at / "ns").iterdir()},
        "cgroups": (at / "cgroup").read_text(),
        "limits": (at / "limits").read_text(),
        "root": (root.st_dev, root.st_ino),
    }


def test_a_command_s_process_is_kept_as_the_container_s_first_is(container: Container) -> None:
    first = int((container.directory / "pid").read_text().split()[0])
    with subprocess.Popen(
        container.exec("sleep", "3600"), env=container.server.environment
    ) as command:
        children: list[int] = []

        def started() -> list[int]:
            children[:] = [
                process.pid
                for process in running()
                if process.words == ["sleep", "3600"]
                and os.readlink(f"/proc/{process.pid}/ns/pid")
                == os.readlink(f"/proc/{first}/ns/pid")
            ]
            return children

        try:
            wait_until("the command runs", started)
            assert kept_in(children[0]) == kept_in(first)
        finally:
            command.kill()


@pytest.fixture
def library(here: Path) -> Library:
    shutil.copytree(PRELOAD, here / "app" / "preload")
    return make_library(here / "app" / "preload" / "library.so", here / "notes")


def test_a_function_s_environment_reaches_no_program_that_has_rights(
    container: Container, controls: Controls, library: Library
) -> None:
    """The shape of CVE-2025-23266: what a user says to load is loaded by a program outside."""
    places = (library.path, "/mnt/source/preload/library.so", "/source/preload/library.so")
    container.server.cli(
        "deploy", library.path.parent / "main.py", ESCAPE_LIBRARY=":".join(map(str, places))
    )
    assert container.server.result("preload", "loaded") == ["/source/preload/library.so"]
    assert library.loaded_by() == []

    launch = controls.launch("list_directory", {"path": "/usr"})
    launch.preload = str(library.path)
    controls.start(launch)
    assert any(program.endswith("/crun") for program in library.loaded_by())


def test_a_container_that_floods_its_node_keeps_nobody_from_it(own_server: Server) -> None:
    container = deployed(own_server)
    line = f"{container.directory.name}: a process that is not its runner"

    def lines() -> int:
        return (own_server.data / "node.log").read_text().count(line)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        flood = pool.submit(container.attempt, "flood_node", {"processes": 3, "seconds": FLOOD_S})
        wait_until("the node has met it", lines)
        own_server.result("escape", "one_more_container")
        assert not flood.done(), "the other container had to wait for the end of the flood"
        assert lines() == 1, "it fills the machine's disk with the node's log"
        own_server.cli("app", "stop", "escape")


def attempts() -> set[str]:
    """All that the code inside/ can try, by name."""
    return {
        one.name
        for module in INSIDE.glob("on_*.py")
        for one in ast.parse(module.read_text()).body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
    }


def test_each_attempt_is_on_a_way_and_each_way_has_a_name_of_its_own() -> None:
    in_tests_of_their_own = {"flood_node"}
    assert {way.attempt for way in WAYS} == attempts() - in_tests_of_their_own
    names = Counter(way.name for way in WAYS)
    assert [name for name, count in names.items() if count > 1] == []
