"""Secrets reach the functions that have them, and nothing else: random values (canaries) are given
in each way, used by real containers, and searched for wherever they could have been left.

Each search proves itself. A witness, something that must be in what was searched, shows that it was
read; a copy of it with a canary inside shows that one would be found, however it is written.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest
from conftest import APPS, Server, kill, running_server, wait_until
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root")

WAYS = ("BY_NAME", "BY_FILE", "BY_DICT", "BY_DOTENV", "BY_ENVIRON")


def forms(canary: str) -> list[bytes]:
    """How a value may stand in bytes: as it is, in UTF-16, in hex, in base 64 from any offset."""
    plain = canary.encode()
    found = [plain, canary.encode("utf-16-le"), plain.hex().encode(), plain.hex().upper().encode()]
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + plain).rstrip(b"=")
        found.append(text[4 if offset else 0 : -2])  # without what depends on its neighbours
    return found


def found_in(data: bytes, canaries: list[str]) -> list[str]:
    return [canary for canary in canaries if any(form in data for form in forms(canary))]


def files_below(*roots: Path | str) -> bytes:
    """The names and the bytes of all files."""
    parts: list[bytes] = []
    for root in roots:
        for at, _, names in os.walk(root):
            for name in names:
                path = Path(at) / name
                parts.append(str(path).encode())
                with contextlib.suppress(OSError):
                    if path.is_file() and not path.is_symlink():
                        parts.append(path.read_bytes())
    return b"\n".join(parts)


class World(NamedTuple):
    """A server whose containers have used the canaries, and what was said meanwhile."""

    server: Server
    canaries: dict[str, str]
    told: dict[str, bytes]  # answers and output, by what was asked

    def http(self, path: str) -> bytes:
        answer = self.server.http("GET", path)
        return json.dumps([answer.headers, answer.document]).encode()

    def cli(self, *words: object) -> bytes:
        done = self.server.cli(*words)
        return (done.stdout + done.stderr).encode()


@contextlib.contextmanager
def environment_of(server: Server, more: dict[str, str]) -> Iterator[None]:
    """Commands meanwhile have these variables too."""
    before = dict(server.environment)
    server.environment.update(more)
    try:
        yield
    finally:
        server.environment = before


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # Letters and digits, so that no form of writing changes them.
    canaries = {way: secrets.token_hex(20) for way in WAYS}
    dotenv = tmp_path_factory.mktemp("dotenv") / ".env"
    dotenv.write_text(f'BY_DOTENV="{canaries["BY_DOTENV"]}"\n')
    given = {
        "CANARY_FOR_DICT": canaries["BY_DICT"],
        "CANARY_DOTENV": str(dotenv),
        "BY_ENVIRON": canaries["BY_ENVIRON"],
    }
    told: dict[str, bytes] = {}
    with running_server() as server:

        def cli(*words: object, status: int = 0) -> bytes:
            done = server.cli(*words, status=status)
            return (done.stdout + done.stderr).encode()

        told["create"] = cli("secret", "create", "canary", f"BY_NAME={canaries['BY_NAME']}")
        body = {"name": "canary-file", "values": {"BY_FILE": canaries["BY_FILE"]}}
        made = server.http("POST", "/api/v1/secrets", body)
        told["create by HTTP"] = json.dumps(made.document).encode()
        with environment_of(server, given):
            told["deploy"] = cli("deploy", APPS / "keeps_secrets.py", "--json")
        digests = server.result("keeps-secrets", "use")
        told["digests"] = json.dumps(digests).encode()
        told["other"] = json.dumps(server.result("keeps-secrets", "other")).encode()
        for what in ("raise", "crash"):
            answer = server.call("keeps-secrets", "use", what=what)
            assert answer.status >= 500
            told[what] = json.dumps([answer.headers, answer.document]).encode()
        told["call that fails"] = cli("call", "keeps-secrets.use", "raise", status=1)
        with environment_of(server, {"EMBER_TRACE": "1"}):
            told["traced"] = cli("call", "keeps-secrets.use", "raise", status=1)
        cli("deploy", APPS / "breaks_with_secrets.py")
        answer = server.call("breaks-with-secrets", "never")
        assert answer.code == "start_failed"
        told["load that fails"] = json.dumps([answer.headers, answer.document]).encode()
        told["refused"] = json.dumps(
            [
                server.http("POST", "/api/v1/secrets", body).document
                for body in (
                    {"name": "a b", "values": {"K": canaries["BY_NAME"]}},
                    {"name": "x", "values": {"K": [canaries["BY_NAME"]]}},
                    {"name": "x", "values": canaries["BY_NAME"]},
                    {"name": "x", "values": {"K": canaries["BY_NAME"] + "\0"}},
                )
            ]
        ).encode()
        # The next version in place of the first, and a warm container with what it has.
        cli("secret", "create", "canary", f"BY_NAME={canaries['BY_NAME']}", "MORE=1")
        assert server.result("keeps-secrets", "use") == digests
        yield World(server, canaries, told)


def test_each_way_brings_the_value(world: World) -> None:
    digests = {
        key: hashlib.sha256(text.encode()).hexdigest() for key, text in world.canaries.items()
    }
    assert json.loads(world.told["digests"]) == digests


class Sink(NamedTuple):
    """Somewhere a value could have been left, and what must be there in any case."""

    name: str
    read: Callable[[World], bytes]
    witness: str


def _told(name: str) -> Callable[[World], bytes]:
    return lambda world: world.told[name]


def _http(path: str) -> Callable[[World], bytes]:
    return lambda world: world.http(path)


def _cli(*words: str) -> Callable[[World], bytes]:
    return lambda world: world.cli(*words)


def _of_processes(name: str) -> Callable[[World], bytes]:
    def read(_world: World) -> bytes:
        parts: list[bytes] = []
        for process in running():
            if process.pid != os.getpid():  # which has made them
                with contextlib.suppress(OSError):
                    parts.append(Path(f"/proc/{process.pid}/{name}").read_bytes())
        return b"\n".join(parts)

    return read


def _call_records(world: World) -> bytes:
    calls = world.server.http("GET", "/api/v1/calls?limit=1000").document["calls"]
    return b"".join(world.http(f"/api/v1/calls/{call['call_id']}") for call in calls)


def _runtime(world: World) -> bytes:
    """What crun was told, and what it keeps: of a container that lives now."""
    world.server.result("keeps-secrets", "use")
    return files_below(world.server.data / "node", "/run/crun")


def _node_memory(world: World) -> bytes:
    world.server.result("keeps-secrets", "use")
    return memory_of(world.server.pid("node"))


def memory_of(pid: int) -> bytes:
    """The writable memory of a process."""
    parts: list[bytes] = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, *_ = line.split()
            if mode.startswith("rw"):
                begin, end = (int(part, 16) for part in span.split("-"))
                with contextlib.suppress(OSError):
                    parts.append(os.pread(memory.fileno(), end - begin, begin))
    return b"\n".join(parts)


SINKS = [
    Sink("state and its log", lambda w: files_below(w.server.data / "serve"), "BY_NAME"),
    Sink("sources", lambda w: files_below(w.server.data / "serve" / "sources"), "keeps_secrets"),
    Sink("data directory", lambda w: files_below(w.server.data), "master.key"),
    Sink("runtime", _runtime, "EMBER_CONTAINER"),
    Sink("images and layers", lambda w: files_below(w.server.data / "node" / "rootfs"), "passwd"),
    Sink("log of serve", lambda w: (w.server.data / "serve.log").read_bytes(), "serving at"),
    Sink("log of node", lambda w: files_below(w.server.data / "node.log", w.server.data), "node.log"),
    Sink("logs", _cli("logs", "keeps-secrets", "--last", "100"), "used by a call"),
    Sink("logs of what broke", _cli("logs", "breaks-with-secrets", "--last", "100"), "exit status 70"),
    Sink("files outside", lambda _: files_below("/run", "/dev/shm"), "/run/"),
    Sink("answer of create", _told("create"), "BY_NAME"),
    Sink("answer of create by HTTP", _told("create by HTTP"), "BY_FILE"),
    Sink("answer of deploy", _told("deploy"), "keeps-secrets"),
    Sink("answers of refusals", _told("refused"), "values.K"),
    Sink("error of a call", _told("raise"), "it failed with secrets at hand"),
    Sink("error of a crash", _told("crash"), "container_crashed"),
    Sink("error of a load", _told("load that fails"), "RuntimeError"),
    Sink("error on the command line", _told("call that fails"), "ValueError"),
    Sink("error on the command line, traced", _told("traced"), "Traceback"),
    Sink("another function's container", _told("other"), "EMBER_RUN_DIR"),
    Sink("app list", _cli("app", "list", "--json"), "keeps-secrets"),
    Sink("app", _http("/api/v1/apps/keeps-secrets"), "scaledown_window_ms"),
    Sink("app history", _cli("app", "history", "keeps-secrets", "--json"), "deploy"),
    Sink("function list", _cli("function", "list", "--json"), "use"),
    Sink("container list", _cli("container", "list", "--json"), "keeps-secrets"),
    Sink("node list", _cli("node", "list", "--json"), "cpu_millicores"),
    Sink("call list", _cli("call", "list", "--json"), "fc-"),
    Sink("call records", _call_records, "user_exception"),
    Sink("secret list", _cli("secret", "list", "--all", "--json"), "BY_DICT"),
    Sink("secret show", _cli("secret", "show", "canary", "--json"), "versions"),
    Sink("status", _cli("status", "--json"), "isolation"),
    Sink("cost", _cli("cost", "--by", "function", "--json"), "keeps-secrets"),
    Sink("environments of processes", _of_processes("environ"), "EMBER_CONTAINER"),
    Sink("command lines of processes", _of_processes("cmdline"), "emberd"),
    Sink("memory of the node", _node_memory, "keeps-secrets"),
]  # fmt: skip


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.name)
def test_no_value_is_left_in(world: World, sink: Sink) -> None:
    canaries = list(world.canaries.values())
    data = sink.read(world)
    assert sink.witness.encode() in data, data[:2000]
    assert found_in(data, canaries) == []
    middle = len(data) // 2
    for canary in canaries:
        for form in forms(canary):
            assert found_in(data[:middle] + form + data[middle:], canaries) == [canary]


def test_no_value_is_left_in_metrics(world: World) -> None:
    import http.client

    connection = http.client.HTTPConnection(world.server.url.removeprefix("http://"))
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {world.server.key}"}
        connection.request("GET", "/metrics", headers=headers)
        data = connection.getresponse().read()
    assert b'app="keeps-secrets"' in data
    assert found_in(data, list(world.canaries.values())) == []


def test_the_memory_of_the_runner_shows_what_the_search_finds(world: World) -> None:
    """What is searched for in the node's memory is found where it has to be."""
    world.server.result("keeps-secrets", "use")
    (container,) = (
        one["container_id"]
        for one in world.server.containers("keeps-secrets")
        if one["function"] == "use"
    )
    runners = [
        process.pid
        for process in running()
        if process.environment.get("EMBER_CONTAINER_ID") == container
        and "ember.runner" in " ".join(process.words)
        and "tini" not in process.program
    ]
    found = {one for pid in runners for one in found_in(memory_of(pid), [*world.canaries.values()])}
    assert world.canaries["BY_NAME"] in found


def test_files_lie_in_memory_for_their_user_alone(world: World) -> None:
    mounts, mode, names = world.server.result("keeps-secrets", "use", what="file")
    (run,) = (line for line in mounts.splitlines() if line.split()[1] == "/run")
    assert run.split()[2] == "tmpfs" and "noexec" in run
    assert mode == "0o100400"
    assert names == ["secrets"]


# --- core dumps ---


def _dumps_core(limit: int, folder: Path) -> bool:
    """Whether a process of ours with such a limit leaves a core."""
    script = (
        f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, ({limit}, {limit})); "
        "os.abort()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=False)
    return any(folder.iterdir())


def test_a_function_with_secrets_leaves_no_core(world: World, tmp_path: Path) -> None:
    assert world.server.result("keeps-secrets", "use", what="core") is False
    assert not _dumps_core(1, tmp_path)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    if most not in (0, 1) and Path("/proc/sys/kernel/core_pattern").read_text() == "core\n":
        assert _dumps_core(most, tmp_path), "without the limit there is one"


def test_the_server_leaves_no_core_and_is_closed_to_its_user(own_server: Server) -> None:
    pid = own_server.pid("serve")
    (limit,) = (
        line.split()[4:6]
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max core file size")
    )
    assert limit == ["0", "0"]
    user = int(Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[0])
    assert user != 0
    # The kernel gives what is in /proc to root where a process may not be dumped.
    assert os.stat(f"/proc/{pid}/environ").st_uid == 0
    sleeper = subprocess.Popen(["sleep", "60"], user=user)
    try:
        wait_until(
            "it sleeps", lambda: b"sleep" in Path(f"/proc/{sleeper.pid}/cmdline").read_bytes()
        )
        assert os.stat(f"/proc/{sleeper.pid}/environ").st_uid == user, "as of one that may be"
    finally:
        sleeper.kill()
        sleeper.wait()
    before = set(Path("/").iterdir())  # where it runs, and so would leave one
    kill_with_core(pid)
    assert set(Path("/").iterdir()) == before


def kill_with_core(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSEGV)
    import select

    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)


# --- what is missing, and keys ---


def test_a_deploy_without_its_secret_says_how_to_make_it(
    server: Server, tmp_path: Path, app_name: str
) -> None:
    script = tmp_path / "needs.py"
    script.write_text(
        f"import ember\napp = ember.App({app_name!r})\n"
        f"db = ember.Secret.from_name({app_name!r}, required_keys=['PASSWORD'])\n"
        "@app.function(secrets=[db])\ndef f():\n    import os\n    return len(os.environ['PASSWORD'])\n"
    )
    told = server.cli("deploy", script, status=2).stderr
    assert f"ember secret create {app_name} PASSWORD=-" in told
    server.cli("secret", "create", app_name, "USER=ada")
    told = server.cli("deploy", script, status=2).stderr
    assert "needs PASSWORD" in told and "has USER" in told
    server.cli("secret", "create", app_name, "PASSWORD=four")
    server.cli("deploy", script)
    assert server.result(app_name, "f") == 4

    assert "is used by" in server.cli("secret", "delete", app_name, status=2).stderr
    server.cli("secret", "delete", app_name, "--force")
    server.cli("app", "stop", app_name)


def test_a_run_takes_its_values_away_again(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "once.py"
    script.write_text(
        "import os\nimport ember\napp = ember.App('once')\n"
        "@app.function(secrets=[ember.Secret.from_dict({'TOKEN': 'abc'})])\n"
        "def f() -> str:\n    return os.environ['TOKEN'][::-1]\n"
    )
    before = server.json("secret", "list", "--all")["secrets"]
    assert "cba" in server.cli("run", script).stdout
    assert server.json("secret", "list", "--all")["secrets"] == before


def deploy_with_values(server: Server) -> None:
    dotenv = server.data / "dotenv"
    dotenv.write_text("BY_DOTENV=5\n")
    given = {"CANARY_FOR_DICT": "3", "BY_ENVIRON": "4", "CANARY_DOTENV": str(dotenv)}
    with environment_of(server, given):
        server.deploy("keeps_secrets.py")


def test_values_outlive_kills_of_either_process(own_server: Server) -> None:
    server = own_server
    server.cli("secret", "create", "canary", "BY_NAME=1")
    server.cli("secret", "create", "canary-file", "BY_FILE=2")
    deploy_with_values(server)
    digests = server.result("keeps-secrets", "use")
    (before,) = server.containers("keeps-secrets")
    for role in ("serve", "node"):
        kill(server, role)
        server.up()
        wait_until("adopted", lambda: server.containers("keeps-secrets"))
        answer = server.call("keeps-secrets", "use")
        assert answer.document == digests
        assert answer.headers["ember-container-id"] == before["container_id"]
    server.call("keeps-secrets", "use", what="crash")
    assert server.result("keeps-secrets", "use") == digests


def test_plain_processes_have_their_files_at_home_while_they_live(data: Path) -> None:
    server = Server(data)
    server.up("--isolation", "process")
    try:
        canary = secrets.token_hex(20)
        server.cli("secret", "create", "canary", "BY_NAME=1")
        server.cli("secret", "create", "canary-file", f"BY_FILE={canary}")
        deploy_with_values(server)
        digests = server.result("keeps-secrets", "use")
        assert digests["BY_FILE"] == hashlib.sha256(canary.encode()).hexdigest()
        (path,) = data.glob("node/containers/*/home/secrets/files/BY_FILE")
        assert path.read_text() == canary
        modes = [one.stat().st_mode & 0o777 for one in (path, *path.parents[:3])]
        assert modes == [0o400, 0o700, 0o700, 0o700]
        assert not Path("/run/secrets/files").exists()
        server.cli("app", "stop", "keeps-secrets")
        wait_until("it has gone", lambda: not server.containers("keeps-secrets"))
        wait_until("with its home", lambda: found_in(files_below(data), [canary]) == [])
    finally:
        server.cli("down", "--now")


def test_a_key_in_a_variable_stays_out_of_every_environment(data: Path) -> None:
    key = secrets.token_hex(32)
    server = Server(data)
    server.environment["KEY_OF_SECRETS"] = key
    server.up("--master-key-env", "KEY_OF_SECRETS")
    try:
        server.cli("secret", "create", "db", "PASSWORD=x")
        assert not (data / "master.key").exists()
        for role in ("serve", "node"):
            environment = Path(f"/proc/{server.pid(role)}/environ").read_bytes()
            assert b"EMBER_DATA=" in environment and key.encode() not in environment
        assert key.encode() not in files_below(data)

        server.cli("down", "--now")
        told = server.cli("up", "--master-key-env", "NOT_THERE", status=5).stderr
        assert "NOT_THERE" in told

        def trouble(*options: str) -> list[Any]:
            server.up(*options)
            return [one for one in server.json("status")["missing"] if "secrets: 1 of 1" in one]

        server.environment["KEY_OF_SECRETS"] = secrets.token_hex(32)
        assert "master key" in str(trouble("--master-key-env", "KEY_OF_SECRETS"))
        told = server.cli("secret", "create", "more", "A=b", status=2).stderr
        assert "start Ember with the one that sealed them" in told
        server.cli("down", "--now")
        assert trouble() != []  # no key at all
        assert (data / "master.key").read_bytes() == b""  # none was made in silence
        server.cli("down", "--now")
        assert trouble("--master-key-command", f"echo {key}") == []
        server.cli("secret", "create", "more", "A=b")
    finally:
        server.cli("down", "--now")


def test_a_key_file_that_others_may_read_is_refused(data: Path) -> None:
    server = Server(data)
    server.up()
    server.cli("down", "--now")
    (data / "master.key").chmod(0o644)
    told = server.cli("up", "--listen", "127.0.0.1:0", status=5).stderr
    assert f"chmod 600 {data}/master.key" in told
    (data / "master.key").chmod(0o600)
    server.up()
    server.cli("down", "--now")
