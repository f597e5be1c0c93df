"""Versions: deployed atomically, called, rolled back, stopped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from typing import TYPE_CHECKING

from conftest import APPS, REPOSITORY, Server, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_deploy_ends_with_one_url_and_one_next_command(server: Server, app_name: str) -> None:
    done = server.cli("deploy", REPOSITORY / "examples" / "hello.py", "--name", app_name)
    assert re.fullmatch(rf"http://[^\s]+/{app_name}\S*\n", done.stdout)
    assert done.stderr.count("next: ") == 1
    assert server.cli("call", f"{app_name}.greet", "Ada").stdout == '"Hello, Ada!"\n'


def test_versions_go_forward_and_back(server: Server, app_name: str, tmp_path: Path) -> None:
    script = tmp_path / "versions.py"
    text = (APPS / "versions.py").read_text()
    for version in (1, 2, 3):
        script.write_text(text.replace("VERSION = 1", f"VERSION = {version}"))
        document = json.loads(server.cli("deploy", script, "--name", app_name, "--json").stdout)
        assert document["version"] == version
        assert server.result(app_name, "version") == version

    server.cli("app", "rollback", app_name)
    assert server.result(app_name, "version") == 2
    server.cli("app", "rollback", app_name, "1")
    assert server.result(app_name, "version") == 1
    versions = server.json("app", "history", app_name)["versions"]
    (current,) = [row for row in versions if row["current"]]
    assert (current["version"], current["message"]) == (5, "rollback to 1")
    assert "9" in server.cli("app", "rollback", app_name, "9", status=2).stderr

    server.cli("app", "stop", app_name)
    answer = server.call(app_name, "version")
    assert (answer.status, answer.code) in [(404, "not_found"), (409, "conflict")]
    wait_until("no containers", lambda: server.containers(app_name) == [])


def test_a_redeploy_under_load_drops_no_call(server: Server, app_name: str, tmp_path: Path) -> None:
    script = tmp_path / "versions.py"
    text = (APPS / "versions.py").read_text()
    script.write_text(text)
    server.cli("deploy", script, "--name", app_name)
    seen: list[int] = []
    failed: list[object] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            answer = server.call(app_name, "version")
            (seen if answer.status == 200 else failed).append(answer.document)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until("calls of version 1", lambda: seen)
    for version in (2, 3):
        script.write_text(text.replace("VERSION = 1", f"VERSION = {version}"))
        server.cli("deploy", script, "--name", app_name)
        wait_until(f"calls of version {version}", lambda version=version: version in seen)
        assert len(server.containers(app_name)) <= 2  # max_containers holds over both versions
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert seen.index(1) < seen.index(2) < seen.index(3)


def test_a_call_reads_bytes_from_the_named_file(
    server: Server, basics: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 5000)
    done = server.json("call", f"{basics}.digest", path, "--name", "x")
    assert done["result"] == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": 1_280_000, "name": "x",
    }  # fmt: skip
    text = base64.b64encode(b"abc").decode()
    assert server.result(basics, "digest", data=text)["size"] == 3


def test_the_environment_of_a_function_is_set(server: Server, basics: str) -> None:
    assert server.result(basics, "environment", name="GREETING") == "good day"
    assert server.result(basics, "environment", name="EMBER_KEY") is None


def test_functions_call_functions(server: Server, basics: str) -> None:
    assert server.result(basics, "twice", a=21) == 42


def test_a_demand_that_the_fleet_never_meets_fails_at_deploy(server: Server) -> None:
    done = server.cli("deploy", APPS / "greedy.py", status=2)
    assert "B200" in done.stderr
    assert "L4" in done.stderr  # what the fleet has


def test_a_name_that_is_none_is_refused(server: Server) -> None:
    assert "name" in server.cli("deploy", APPS / "bad_name.py", status=2).stderr
