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
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, wait_until
from controls import INSIDE, Controls, missing_capability, shows
from ways import WAYS, Surroundings, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOD_S = 60.0  # at most; it is ended before
PRELOAD = Path(__file__).resolve().parent / "preload"

# Leaves a note in a directory of the machine's that no container sees.
LIBRARY = r"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void leave_a_note(void) {
  int note = open(NOTES "/note", O_WRONLY | O_CREAT | O_APPEND, 0666);
  char program[256];
  ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
  if (note < 0 || size < 0) return;
  program[size] = '\n';
  if (write(note, program, (size_t)size + 1) < 0) _exit(1);
}
unsigned la_version(unsigned version) { return version; }
"""


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
        return self.server.result("escape", "attempt", name=name, given=given)

    def skip_without(self, needed: str) -> None:
        """Skips where this machine does not give that to containers, and Ember says so."""
        status = self.server.http("GET", "/api/v1/status").document
        if needed == "network" and "of its own" not in status["network"]:
            pytest.skip(status["network"])
        for line in status["missing"]:
            if needed and line.startswith(needed):
                pytest.skip(line)

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
    library = ctypes.CDLL(None, use_errno=True)
    with contextlib.ExitStack() as stack:
        marker = here / "marker"
        marker.write_text("reached")
        sleeper = stack.enter_context(subprocess.Popen(["sleep", "infinity"]))
        stack.callback(sleeper.kill)
        (here / "service").mkdir()
        abstract = f"ember-escape-{os.getpid()}"
        for address in (f"\0{abstract}", str(here / "service" / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        (here / "service" / "socket").chmod(0o666)
        loopback = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        key = 0x45000000 + os.getpid()
        segment = library.shmget(key, 4096, 0o1000 | 0o600)
        assert segment >= 0, os.strerror(ctypes.get_errno())
        stack.callback(library.shmctl, segment, 0, None)
        yield Surroundings(
            marker=marker,
            process=sleeper.pid,
            abstract=abstract,
            path=here / "service" / "socket",
            port=loopback.getsockname()[1],
            shared_memory=key,
            key=container.server.data / "key",
            other_socket=container.another / "run" / "runner.sock",
        )


def given(way: Way, surroundings: Surroundings) -> dict[str, Any]:
    return {**way.given, **way.led_to(surroundings)}


every_way = pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])


@every_way
def test_it_does_not_lead_out(way: Way, container: Container, surroundings: Surroundings) -> None:
    container.skip_without(way.needs)
    outcome = container.attempt(way.attempt, given(way, surroundings))
    assert "broken" not in outcome, outcome["broken"]
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
        pytest.skip(f"no control: this machine's kernel has no {way.attempt}")
    names = ", ".join(removal.name for removal in removed)
    assert outcome["escaped"], f"stopped by {outcome['how']}, without {names}"


@dataclass
class Library:
    """A library of a function's own, and the notes of the programs of the machine that load it."""

    path: Path
    app: Path
    notes: Path

    def loaded_by(self) -> list[str]:
        note = self.notes / "note"
        return note.read_text().split() if note.exists() else []


@pytest.fixture
def library(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Library:
    app = here / "app" / "preload"
    shutil.copytree(PRELOAD, app)
    notes = here / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    source = tmp_path_factory.mktemp("library") / "library.c"
    source.write_text(LIBRARY)
    path = app / "library.so"
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", f'-DNOTES="{notes}"', "-o", path, source], check=True
    )
    return Library(path, app / "main.py", notes)


def test_a_function_s_environment_reaches_no_program_that_has_rights(
    container: Container, controls: Controls, library: Library
) -> None:
    """The shape of CVE-2025-23266: what a user says to load is loaded by a program outside."""
    places = (library.path, "/mnt/source/preload/library.so", "/source/preload/library.so")
    container.server.cli("deploy", library.app, ESCAPE_LIBRARY=":".join(map(str, places)))
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
