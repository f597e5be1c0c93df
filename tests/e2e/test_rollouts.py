"""One version after another under calls that never stop: none is dropped, whatever comes of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

CALLERS = 3


class Rolls:
    """The app, in the versions that a test writes."""

    def __init__(self, server: Server, name: str, directory: Path) -> None:
        self.server = server
        self.name = name
        self._script = directory / "rolls.py"

    def deploy(self, version: int, *words: str, ill: str = "", status: int = 0) -> str:
        text = (APPS / "rolls.py").read_text().replace("VERSION = 1", f"VERSION = {version}")
        if ill:
            text = text.replace(f"{ill} = False", f"{ill} = True")
        self._script.write_text(text)
        done = self.server.cli("deploy", self._script, "--name", self.name, *words, status=status)
        return done.stderr

    def history(self) -> list[dict[str, object]]:
        return self.server.json("app", "history", self.name)["versions"]


class Load:
    """Callers of a function who call again as soon as they are answered."""

    def __init__(self, rolls: Rolls, function: str) -> None:
        self.seen: list[list[int]] = [[] for _ in range(CALLERS)]
        self.failed: list[object] = []
        self._done = threading.Event()
        self._rolls, self._function = rolls, function
        self._threads = [threading.Thread(target=self._call, args=(seen,)) for seen in self.seen]
        for thread in self._threads:
            thread.start()

    def sees(self, version: int) -> bool:
        return any(version in seen for seen in self.seen)

    def finish(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        assert self.failed == []

    def _call(self, seen: list[int]) -> None:
        while not self._done.is_set():
            answer = self._rolls.server.call(self._rolls.name, self._function)
            if answer.status == 200:
                seen.append(answer.document)
            else:
                self.failed.append(answer.document)


@pytest.fixture
def rolls(server: Server, app_name: str, tmp_path: Path) -> Iterator[Rolls]:
    yield Rolls(server, app_name, tmp_path)
    server.cli("app", "stop", app_name)


@pytest.mark.parametrize("function", ["alone", "several"])
@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_no_call_is_dropped_or_fails_while_versions_take_over(
    rolls: Rolls, function: str, strategy: str
) -> None:
    rolls.deploy(1)
    load = Load(rolls, function)
    wait_until("calls of version 1", lambda: load.sees(1))
    for version in (2, 3):
        rolls.deploy(version, "--strategy", strategy)
        wait_until(f"calls of version {version}", lambda version=version: load.sees(version))
    load.finish()
    for seen in load.seen:
        assert seen == sorted(seen)  # nobody goes back to an older version


def test_after_a_rolling_deploy_the_next_call_is_of_the_new_version(rolls: Rolls) -> None:
    rolls.deploy(1)
    assert rolls.server.result(rolls.name, "alone") == 1
    rolls.deploy(2)
    assert rolls.server.result(rolls.name, "alone") == 2
    (container,) = [
        one for one in rolls.server.containers(rolls.name) if one["state"] in ("idle", "busy")
    ]
    assert container["version"] == 2


@pytest.mark.parametrize("function", ["alone", "several"])
def test_a_version_that_does_not_come_up_is_withdrawn_and_no_call_fails(
    rolls: Rolls, function: str
) -> None:
    rolls.deploy(1)
    load = Load(rolls, function)
    wait_until("calls of version 1", lambda: load.sees(1))
    told = rolls.deploy(2, ill="BROKEN", status=1)
    assert "version 2" in told
    assert "there are no weights here" in told
    assert "version 1 serves as before" in told
    before = sum(map(len, load.seen))
    wait_until("further calls", lambda: sum(map(len, load.seen)) > before + CALLERS)
    load.finish()
    assert not load.sees(2)
    first, second = rolls.history()
    assert (first["state"], second["state"]) == ("serving", "withdrawn")
    assert "there are no weights here" in str(second["reason"])

    rolls.deploy(3)
    assert rolls.server.result(rolls.name, function) == 3
    rolls.server.cli("app", "rollback", rolls.name)  # not to the one that never served
    assert rolls.server.result(rolls.name, function) == 1


def test_what_runs_ends_on_its_version_and_what_waits_goes_on_to_the_new_one(
    rolls: Rolls,
) -> None:
    rolls.deploy(1)
    seen: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: seen.append(rolls.server.result(rolls.name, "slow", seconds=1.5))
        )
        for _ in range(2)
    ]
    threads[0].start()
    wait_until(
        "the call to run",
        lambda: any(one["inputs"] for one in rolls.server.containers(rolls.name)),
    )
    rolls.deploy(2, "--detach")
    threads[1].start()
    for thread in threads:
        thread.join()
    assert seen == [1, 2]


def test_a_rollout_is_withdrawn_by_a_rollback_that_names_no_version(rolls: Rolls) -> None:
    rolls.deploy(1)
    assert rolls.server.result(rolls.name, "several") == 1
    rolls.deploy(2, "--detach", ill="HANGS")
    rolls.server.cli("app", "rollback", rolls.name)
    states = [one["state"] for one in rolls.history()]
    assert states[:2] == ["serving", "withdrawn"]
    assert rolls.server.result(rolls.name, "several") == 1
