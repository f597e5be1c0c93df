"""A real server for the tests: `ember up` on a data directory and a port of its own.

Each pytest-xdist worker has a server for the session; a test that hurts its server starts one for
itself. When a server is taken down nothing may be left: no process, mount, cgroup or file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest
from leftovers import NOTHING, held
from processes import end_at_once, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes import Process

REPOSITORY = Path(__file__).resolve().parents[1]
APPS = REPOSITORY / "tests" / "e2e" / "apps"
EMBERD = Path(os.environ.get("EMBER_EMBERD", REPOSITORY / "build" / "bin" / "emberd"))
CALL_TIMEOUT_S = 120.0

# A shell that runs this in the background has its commands ignore it, and theirs after them.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Answer(NamedTuple):
    """An HTTP answer; `document` is its decoded JSON."""

    status: int
    headers: dict[str, str]
    document: Any

    @property
    def code(self) -> str:
        return self.document["error"]["code"]

    @property
    def message(self) -> str:
        return self.document["error"]["message"]


def _no_real_gpus() -> dict[str, str]:
    """What hides the machine's own GPUs: the stand-in for their driver, which tells of none."""
    if shutil.which("nvidia-smi") is None:
        return {}
    return {
        "LD_LIBRARY_PATH": str(REPOSITORY / "build" / "tests" / "nvml"),
        "NVML_STAND_IN_SCRIPT": str(REPOSITORY / "tests" / "no_devices.json"),
    }


def skip_without_index(told: str) -> None:
    """Skips a test whose packages cannot be had here."""
    if "index could not be reached" in told:
        pytest.skip("the package index cannot be reached from here")


class Server:
    """A running Ember and the two ways to it: its command line and HTTP."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.simulate_gpus = "L4:2"
        self.environment: dict[str, str] = {
            **{
                k: v for k, v in os.environ.items() if not k.startswith("EMBER_") and k != "COLUMNS"
            },
            "EMBER_DATA": str(data),
            "EMBER_EMBERD": str(EMBERD),
            "PYTHONPATH": str(REPOSITORY / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **_no_real_gpus(),
        }

    def up(self, *options: str) -> None:
        self.cli(
            "up", "--listen", "127.0.0.1:0", "--simulate-gpus", self.simulate_gpus, "--json",
            *options,
        )  # fmt: skip

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "ember.cli", *map(str, words)]

    def cli(
        self, *words: object, status: int = 0, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `ember ...` to its end and checks its exit status."""
        done = subprocess.run(
            self.command(*words), env={**self.environment, **environment}, cwd=cwd,
            capture_output=True, text=True, timeout=CALL_TIMEOUT_S,
        )  # fmt: skip
        told = f"ember {' '.join(map(str, words))}: {done.stdout}\n{done.stderr}"
        if done.returncode != status:
            skip_without_index(told)
        assert done.returncode == status, told
        assert "\x1b" not in done.stdout + done.stderr, "escape codes in a pipe"
        return done

    @contextlib.contextmanager
    def start(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """Starts `ember ...`, and ends it if the test has not."""
        process = subprocess.Popen(
            self.command(*words), env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def json(self, *words: object) -> Any:
        return json.loads(self.cli(*words, "--json").stdout)

    @property
    def url(self) -> str:
        return (self.data / "url").read_text().strip()

    @property
    def key(self) -> str:
        return (self.data / "key").read_text().strip()

    def pid(self, role: str) -> int:
        return int((self.data / f"{role}.pid").read_text())

    def http(self, method: str, path: str, body: object = None, **headers: str | None) -> Answer:
        """One request; `body` is bytes or becomes JSON, a header of None is left out."""
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {self.key}", "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }  # fmt: skip
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(
            self.url.removeprefix("http://"), timeout=CALL_TIMEOUT_S
        )
        with contextlib.closing(connection):
            connection.request(
                method, path, data if body is not None else None,
                {name: value for name, value in sent.items() if value is not None},
            )  # fmt: skip
            answer = connection.getresponse()
            text = answer.read()
        got = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, got, json.loads(text) if text else None)

    def call(self, app: str, function: str, **arguments: object) -> Answer:
        return self.http("POST", f"/fn/{app}/{function}", arguments)

    def result(self, app: str, function: str, **arguments: object) -> Any:
        answer = self.call(app, function, **arguments)
        assert answer.status == 200, answer
        return answer.document

    def containers(self, app: str) -> list[dict[str, Any]]:
        rows = self.http("GET", "/api/v1/containers").document["containers"]
        return [row for row in rows if row["app"] == app]

    def deploy(self, name: str, *options: str) -> None:
        self.cli("deploy", APPS / name, *options)


def kill(server: Server, role: str) -> None:
    """Ends a process as a crash does, and waits for its end."""
    assert end_at_once([server.pid(role)]) == 1, f"{role} does not run"


def wait_until(what: str, holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Waits until something holds that only looking can tell, such as a listing of the API."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"after {timeout_s:.0f} s still not: {what}"
        time.sleep(0.05)


def processes_of(data: Path) -> list[Process]:
    """The processes that name the data directory in their words, or its node in what they inherit."""
    node_id = data / "node" / "node_id"
    marks = [node_id.read_text().strip()] if node_id.exists() else []
    return [
        process
        for process in running()
        if process.pid != os.getpid()
        and (
            any(str(data) in word for word in process.words)
            or any(process.bears(mark) for mark in marks)
        )
    ]


def networks_of(data: Path) -> set[str]:
    """The interfaces of the node's containers and their firewall's table, on this machine."""
    return {thing.which for thing in held(data).of("interfaces", "tables")}


def _take_down(server: Server) -> None:
    try:
        server.cli("down", "--now")
        # An end that serve was not there to bill is kept for it.
        left = held(server.data).without("ends")
        assert left == NOTHING, left
    finally:
        for role in ("serve", "node"):
            log = server.data / f"{role}.log"
            if log.exists():
                print(f"--- {role}.log\n{log.read_text(errors='replace')[-20000:]}")
        end_at_once(process.pid for process in processes_of(server.data))


@contextlib.contextmanager
def _data_directory() -> Iterator[Path]:
    # Not pytest's: serve gives its privileges up, and pytest's directories are closed to others.
    path = Path(tempfile.mkdtemp(prefix="ember-e2e-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def running_server(*options: str, make: Callable[[Path], Server] = Server) -> Iterator[Server]:
    with _data_directory() as data:
        server = make(data)
        server.up(*options)
        try:
            yield server
        finally:
            _take_down(server)


def skip_without_own_roots(*tools: str) -> None:
    """Skips where images with a root of their own cannot be made by these."""
    if os.geteuid() != 0:
        pytest.skip("images with a root of their own take root")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextlib.contextmanager
def running_builder(*tools: str, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """A server that builds images with a root of their own by these tools."""
    skip_without_own_roots(*tools)
    with running_server(*options) as server:
        if server.json("status")["isolation"] != "container":
            pytest.skip("containers are not to be had on this machine")
        yield server


@pytest.fixture
def service() -> Iterator[tuple[str, int]]:
    """A service on an address of this machine that is not its loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("1.1.1.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has a loopback alone: {error}")
        address = out.getsockname()[0]
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection((address, port), timeout=5).close()  # the machine reaches it
        yield address, port


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The worker's server: tests leave it as they found it."""
    if not os.access(EMBERD, os.X_OK):
        pytest.fail(f"{EMBERD} is not built; run `make build`, or set EMBER_EMBERD")
    with running_server() as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may hurt."""
    with running_server() as running:
        yield running


@pytest.fixture
def data() -> Iterator[Path]:
    """An empty data directory."""
    with _data_directory() as path:
        yield path


@pytest.fixture(scope="session")
def basics(server: Server) -> str:
    """The deployed app of `apps/basics.py`."""
    server.deploy("basics.py")
    return "basics"


@pytest.fixture(scope="session")
def failures(server: Server) -> str:
    """The deployed app of `apps/failures.py`."""
    server.deploy("failures.py")
    return "failures"


@pytest.fixture
def app_name() -> str:
    """A name that no other test uses."""
    return f"app-{uuid.uuid4().hex[:8]}"
