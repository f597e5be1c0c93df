"""Shells and commands in containers, over a real terminal and without one; looking into them."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, Server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 60.0


class Terminal:
    """`ember ...` at a terminal of its own."""

    def __init__(self, server: Server, *words: object, rows: int = 24, columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            server.command(*words), env={**server.environment, "TERM": "xterm"},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.theirs = theirs
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Reads on until the pattern has come since the last one that was expected."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.text)):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"no {pattern!r} in {self.text!r}"
            if not select.select([self._ours], [], [], left_s)[0]:
                continue
            try:
                piece = os.read(self._ours, 65536)
            except OSError:
                piece = b""
            assert piece, f"it ended without {pattern!r}: {self.text!r}"
            self.text += piece.decode(errors="replace")
        self.text = self.text[found.end() :]
        return found

    def type_until(self, key: str, pattern: str) -> None:
        """Types a key again until the pattern comes: `fg` names a job before it has the terminal."""
        deadline = time.monotonic() + LIMIT_S
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text!r}"
            self.type(key)
            if select.select([self._ours], [], [], 1.0)[0]:
                self.text += os.read(self._ours, 65536).decode(errors="replace")
        self.expect(pattern)

    def run(self, line: str, pattern: str) -> re.Match[str]:
        self.type(line + "\r")
        self.expect(re.escape(line).replace("\\ ", r"\s+"))  # its echo
        return self.expect(pattern)

    def end(self) -> int:
        """The exit status; what is written meanwhile is taken."""
        deadline = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self._ours], [], [], 0.05)[0]:
                self.text += os.read(self._ours, 65536).decode(errors="replace")
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self.theirs)


@contextlib.contextmanager
def terminal(server: Server, *words: object, **size: int) -> Iterator[Terminal]:
    one = Terminal(server, *words, **size)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def shelly(server: Server) -> str:
    server.deploy("shelly.py")
    return "shelly"


@pytest.fixture
def container(server: Server, shelly: str) -> str:
    """One that runs and is idle."""
    assert server.result(shelly, "greet") == "Hello, you!"
    return next(
        row["container_id"]
        for row in server.containers(shelly)
        if row["function"] == "greet" and row["state"] == "idle"
    )


def execute(
    server: Server, container: str, *command: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        server.command("container", "exec", container, "--", *command),
        env=server.environment, input=stdin, capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def commands_in(server: Server, container: str) -> list[str]:
    document = server.json("container", "top", container)
    return [process["command"] for process in document["processes"]]


# --- commands without a terminal ---


def test_a_command_has_its_bytes_its_errors_and_its_status(server: Server, container: str) -> None:
    done = execute(server, container, "sh", "-c", "cat; echo oh >&2; exit 7", stdin=b"\x00\xff\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"\x00\xff\n", b"oh\n", 7)


def test_megabytes_pass_whole_both_ways(server: Server, container: str) -> None:
    data = os.urandom(1 << 20) * 2
    done = execute(server, container, "cat", stdin=data)
    assert done.returncode == 0
    assert done.stdout == data


def test_a_reader_that_has_had_enough_ends_the_command(server: Server, container: str) -> None:
    command = server.command("container", "exec", container, "--", "yes")
    process = subprocess.Popen(command, env=server.environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1000) == b"y\n" * 500
    process.stdout.close()
    process.wait(LIMIT_S)
    wait_until("yes has ended", lambda: "yes" not in commands_in(server, container))


def test_a_signal_that_ends_it_is_in_the_status(server: Server, container: str) -> None:
    assert execute(server, container, "sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_a_program_that_is_not_there_is_named(server: Server, container: str) -> None:
    done = execute(server, container, "no-such-program")
    assert done.returncode != 0
    assert b"no-such-program" in done.stderr


def test_a_container_that_is_not_there_is_a_wrong_name(server: Server) -> None:
    done = execute(server, "ct-0000000000001", "true")
    assert done.returncode == 2
    assert b"ember container list" in done.stderr


def test_what_is_left_running_does_not_hold_the_command_up(server: Server, container: str) -> None:
    done = execute(server, container, "sh", "-c", "sleep 4321 & echo here")
    assert (done.stdout, done.returncode) == (b"here\n", 0)
    execute(server, container, "pkill", "-f", "sleep 4321")


def test_it_has_the_function_s_environment_and_no_privileges(
    server: Server, container: str
) -> None:
    said = execute(
        server, container, "sh", "-c", "env; grep -E 'CapEff|Seccomp:' /proc/self/status"
    ).stdout.decode()
    isolated = server.json("status")["isolation"] == "container"
    for line in ["COLOUR=green", f"EMBER_CONTAINER_ID={container}", "LANG=C.UTF-8"]:
        assert line in said.splitlines()
    if isolated:
        assert "CapEff:\t0000000000000000\n" in said
        assert "Seccomp:\t2\n" in said


def test_a_client_that_is_killed_leaves_nothing_in_the_container(
    server: Server, container: str
) -> None:
    word = f"98{uuid.uuid4().int % 10**6}"
    with server.start("container", "exec", container, "--", "sleep", word) as process:
        wait_until("it sleeps", lambda: f"sleep {word}" in commands_in(server, container))
        process.kill()
        process.wait()
        wait_until("it has ended", lambda: f"sleep {word}" not in commands_in(server, container))


def test_a_container_that_ends_ends_its_commands(server: Server, container: str) -> None:
    with server.start("container", "exec", container, "--", "sleep", "5555") as process:
        wait_until("it sleeps", lambda: "sleep 5555" in commands_in(server, container))
        server.cli("container", "stop", container, "--now")
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + signal.SIGKILL
    assert "signal 9" in said


# --- shells at a terminal ---


def test_a_shell_in_a_running_container_is_a_whole_terminal(server: Server, container: str) -> None:
    with terminal(server, "shell", container, rows=31, columns=97) as shell:
        shell.expect(r"[#$] $")
        assert shell.run("stty size", r"(\d+ \d+)")[1] == "31 97"
        shell.resize(41, 113)
        os.killpg(shell.process.pid, signal.SIGWINCH)
        wait_for_size(shell, "41 113")
        assert shell.run("tty", r"(/dev/pts/\d+)")
        # Ctrl-C interrupts what runs, and only that.
        shell.type("sleep 1000\r")
        shell.expect("sleep 1000")
        wait_until("it sleeps", lambda: "sleep 1000" in commands_in(server, container))
        shell.type("\x03")
        assert shell.run("echo status $?", r"status (\d+)")[1] == "130"
        # Jobs.
        shell.run("sleep 2000 &", r"\[1\] \d+")
        shell.run("jobs", r"Running\s+sleep 2000")
        shell.type("fg\r")
        shell.expect(r"fg\s[^$#]*sleep 2000")
        shell.type_until("\x1a", r"Stopped\s+sleep 2000")
        shell.run("kill %1; wait; disown -a; echo over", r"over")  # none keeps it from ending
        shell.type("exit 5\r")
        assert shell.end() == 5
        assert termios.tcgetattr(shell.theirs) == shell.before


def wait_for_size(shell: Terminal, size: str) -> None:
    """Asks until the size has come: it does not come in the order of the bytes that are typed."""
    deadline = time.monotonic() + LIMIT_S
    while shell.run("stty size", r"(\d+ \d+)")[1] != size:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_shell_that_is_told_to_end_gives_the_terminal_back(
    server: Server, container: str, number: signal.Signals
) -> None:
    with terminal(server, "shell", container) as shell:
        shell.expect(r"[#$] $")
        assert termios.tcgetattr(shell.theirs) != shell.before
        shell.process.send_signal(number)
        assert shell.end() == 128 + number
        assert termios.tcgetattr(shell.theirs) == shell.before
    wait_until(
        "its shell has ended",
        lambda: (
            not any(words.startswith(("bash", "sh")) for words in commands_in(server, container))
        ),
    )


def test_much_output_comes_whole_over_a_terminal(server: Server, container: str) -> None:
    with terminal(server, "shell", container, "--cmd", "seq 1 150000") as shell:
        status = shell.end()
        lines = re.findall(r"\d+", drained(shell))
    assert status == 0
    assert lines == [str(number) for number in range(1, 150_001)]


def drained(shell: Terminal) -> str:
    while select.select([shell._ours], [], [], 0.2)[0]:
        shell.text += os.read(shell._ours, 65536).decode()
    return shell.text


def test_a_shell_of_a_function_has_a_container_of_its_own_that_runs_no_code(
    server: Server, shelly: str
) -> None:
    with terminal(server, "shell", f"{shelly}.greet") as shell:
        shell.expect(r"[#$] $")
        row = next(
            row
            for row in server.http("GET", "/api/v1/containers").document["containers"]
            if row["app"].startswith(f"{shelly}-shell-")
        )
        assert row["function"] == "greet"
        assert shell.run("echo $EMBER_CONTAINER_ID", r"(ct-\w+)")[1] == row["container_id"]
        assert shell.run("echo is $COLOUR", r"is (\w+)")[1] == "green"
        assert shell.run("ls /source", r"(shelly\.py)")
        shell.type("exit 3\r")
        assert shell.end() == 3
    wait_until("its container has ended", lambda: not server.containers(row["app"]))
    assert "greeting" not in server.cli("logs", row["app"]).stdout
    apps = {one["app"] for one in server.json("cost", "--by", "app")["rows"]}
    assert row["app"] in apps, "it is billed like any other"


def test_a_shell_whose_client_is_killed_gives_its_container_up(server: Server, shelly: str) -> None:
    with terminal(server, "shell", f"{shelly}.greet") as shell:
        shell.expect(r"[#$] $")
        shell.process.kill()
        shell.process.wait()
    # Its lease of 30 s ends.
    wait_until(
        "its container has ended",
        lambda: (
            not any(
                row["app"].startswith(f"{shelly}-shell-")
                for row in server.http("GET", "/api/v1/containers").document["containers"]
            )
        ),
    )


@pytest.mark.parametrize(
    "target", [["shelly.py::greet"], ["shelly.py::image"], ["--image", "host"]]
)
def test_a_shell_of_a_file_s_function_or_image(server: Server, target: list[str]) -> None:
    done = subprocess.run(
        server.command("shell", *target), env=server.environment, cwd=APPS, text=True,
        input="echo in $EMBER_FUNCTION; exit 4\n", capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stdout == ("in greet\n" if "greet" in target[0] else "in shell\n")


def test_a_shell_has_the_volumes_that_it_is_given(server: Server, tmp_path: Path) -> None:
    name = f"files-{uuid.uuid4().hex[:8]}"
    (tmp_path / "note").write_text("kept\n")
    server.cli("volume", "create", name)
    server.cli("volume", "put", name, tmp_path / "note", "note")
    command = f"cat /mnt/{name}/note; echo new > /mnt/{name}/other"
    assert server.cli("shell", "--volume", name, "--cmd", command).stdout == "kept\n"
    wait_until("what it wrote is there", lambda: "other" in server.cli("volume", "ls", name).stdout)


@pytest.mark.parametrize("target", ["nonsense", "shelly.nothing", "missing.py::greet"])
def test_a_target_that_is_not_there_is_a_wrong_name(
    server: Server, shelly: str, target: str
) -> None:
    done = server.cli("shell", target, status=2)
    assert target.split(".")[-1].split(":")[0] in done.stderr or "missing.py" in done.stderr


def test_a_shell_driven_by_tmux(server: Server, container: str, tmp_path: Any) -> None:
    """As a person sees it: screens of tmux, which has its own idea of what a terminal does."""
    tmux_path = shutil.which("tmux")
    assert tmux_path, "make setup installs tmux"
    base = [tmux_path, "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]

    def tmux(*words: str) -> str:
        done = subprocess.run(
            [*base, *words], env=server.environment, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen() -> str:
        return tmux("capture-pane", "-p")

    def shows(pattern: str) -> None:
        wait_until(f"the screen shows {pattern}", lambda: re.search(pattern, screen(), re.M))

    words = " ".join(server.command("shell", container))
    tmux("new-session", "-d", "-x", "100", "-y", "30", f"{words}; echo ended with $?; cat")
    try:
        shows(r"[#$] *$")
        tmux("send-keys", "stty size", "Enter")
        shows(r"^30 100$")
        tmux("resize-window", "-x", "120", "-y", "40")
        wait_until("the new size", lambda: asked(tmux, screen, "stty size", r"^40 120$"))
        tmux("send-keys", "clear; sleep 1000", "Enter")
        wait_until("it sleeps", lambda: "sleep 1000" in commands_in(server, container))
        tmux("send-keys", "C-c")
        tmux("send-keys", "echo still $((40 + 2))", "Enter")
        shows(r"^still 42$")
        tmux("send-keys", "python3 -q", "Enter")
        shows(r"^>>> *$")
        tmux("send-keys", "print('nested', 6 * 7)", "Enter")
        shows(r"^nested 42$")
        tmux("send-keys", "C-d")
        tmux("send-keys", "exit 9", "Enter")
        shows(r"^ended with 9$")
    finally:
        print(screen())
        subprocess.run([*base, "kill-server"], check=False)


def asked(tmux: Any, screen: Any, line: str, pattern: str) -> bool:
    tmux("send-keys", line, "Enter")
    return bool(re.search(pattern, screen(), re.M))


# --- the protocol ---


def test_what_breaks_the_protocol_ends_the_session(server: Server, container: str) -> None:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    key = base64.b64encode(b"0123456789abcdef").decode()
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as client:
        client.sendall(
            f"GET /api/v1/containers/{container}/exec HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {server.key}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"\x81\x05hello")  # not masked
        assert client.recv(4096) == b"\x88\x02\x03\xea"


def test_a_wrong_key_opens_no_session(server: Server, container: str) -> None:
    done = server.cli(
        "container",
        "exec",
        container,
        "--",
        "true",
        status=3,
        EMBER_URL=server.url,
        EMBER_KEY="ek-no",
    )
    assert "key" in done.stderr


# --- looking into containers ---


def test_top_shows_the_processes_of_a_container(server: Server, container: str) -> None:
    with server.start("container", "exec", container, "--", "sleep", "7777"):
        wait_until("it sleeps", lambda: "sleep 7777" in commands_in(server, container))
        table = server.cli("container", "top", container).stdout
    assert "sleep 7777" in table
    assert re.search(r"ember\.runner", table)


def test_logs_are_those_of_the_container(server: Server, shelly: str, container: str) -> None:
    name = uuid.uuid4().hex
    server.result(shelly, "greet", name=name)
    assert f"greeting {name}" in server.cli("container", "logs", container).stdout
    server.cli("container", "stop", container)
    wait_until(
        "it has ended",
        lambda: container not in {row["container_id"] for row in server.containers(shelly)},
    )
    assert f"greeting {name}" in server.cli("container", "logs", container).stdout
    assert "on record" in server.cli("container", "logs", "ct-0000000000099", status=2).stderr


def test_a_stack_shows_where_user_code_is(server: Server, shelly: str) -> None:
    path = f"/tmp/never-{uuid.uuid4().hex}"
    with calling(server, shelly, "wait_for", path=path) as busy:
        table = server.cli("container", "stack", busy).stdout
        threads = server.json("container", "stack", busy)["threads"]
        execute(server, busy, "touch", path)
    assert re.search(r"wait_for \(.*shelly\.py:\d+\)", table)
    assert any(frame["name"] == "wait_for" for one in threads for frame in one["frames"])


def test_a_stop_lets_what_runs_finish(server: Server, shelly: str) -> None:
    path = f"/tmp/done-{uuid.uuid4().hex}"
    with calling(server, shelly, "wait_for", path=path) as busy:
        done = server.cli("container", "stop", busy)
        assert "takes no more inputs" in done.stderr
        row = next(r for r in server.containers(shelly) if r["container_id"] == busy)
        assert row["state"] == "busy"
        execute(server, busy, "touch", path)
    assert calling.last == busy
    wait_until(
        "it has ended", lambda: busy not in {r["container_id"] for r in server.containers(shelly)}
    )


def test_a_stop_now_runs_the_input_again_elsewhere(server: Server, shelly: str) -> None:
    path = f"/tmp/again-{uuid.uuid4().hex}"
    with calling(server, shelly, "wait_for", path=path) as first:
        server.cli("container", "stop", first, "--now")
        second = busy_one(server, shelly, other_than=first)
        execute(server, second, "touch", path)
    assert calling.last == second


class calling:
    """A call that runs on a container for as long as the block; then its result is `last`."""

    last: Any = None

    def __init__(self, server: Server, app: str, function: str, **arguments: object) -> None:
        self._server, self._app = server, app
        self._thread = threading.Thread(target=self._call, args=(function, arguments))

    def _call(self, function: str, arguments: dict[str, object]) -> None:
        calling.last = self._server.result(self._app, function, **arguments)

    def __enter__(self) -> str:
        calling.last = None
        self._thread.start()
        return busy_one(self._server, self._app)

    def __exit__(self, *_: object) -> None:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


def busy_one(server: Server, app: str, other_than: str = "") -> str:
    def found() -> list[str]:
        return [
            row["container_id"]
            for row in server.containers(app)
            if row["state"] == "busy" and row["container_id"] != other_than
        ]

    wait_until("a container is busy", found)
    return found()[0]


# --- what user code finds around it ---


def test_user_code_finds_the_environment_that_it_expects(server: Server, shelly: str) -> None:
    env = server.result(shelly, "environment")
    assert env["EMBER_APP"] == shelly
    assert env["EMBER_FUNCTION"] == "environment"
    assert int(env["EMBER_VERSION"]) >= 1
    assert env["LANG"] == "C.UTF-8"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["OMP_NUM_THREADS"] == env["RAYON_NUM_THREADS"] == "1"
    assert ("TZ" in env) == (not os.path.lexists("/etc/localtime"))
    call, own = server.result(shelly, "who")
    assert call.startswith("fc-")
    assert own.startswith("in-")


def test_documents_are_json(server: Server, container: str) -> None:
    assert json.loads(server.cli("container", "stop", container, "--json").stdout)["inputs"] == 0
