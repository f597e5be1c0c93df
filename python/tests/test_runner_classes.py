"""Classes in a runner: enter before Ready, methods by their place, exit before the end."""

from __future__ import annotations

import json
import pickle
import signal
from typing import Any

import pytest
from conftest import RunnerProcess, wait_for_file

from ember.runner import _frames as frames

CLASS = """
import asyncio, contextvars, os, threading, time
seen = contextvars.ContextVar("seen")

@app.cls()
class Model:
    size: str = ember.parameter(default="7b")
    key: bytes = ember.parameter(default=b"")
    loaded: list = ember.parameter(init=False)

    @ember.enter()
    {a}def load(self):
        print("entering")
        seen.set("entered")
        self.loaded.append(self.size)

    @ember.enter(snap=True)
    def first(self):
        self.loaded = ["first"]

    @ember.method()
    {a}def state(self, more: int = 0):
        return self.loaded + [self.key.decode(), more, seen.get()]

    @ember.method()
    {a}def helped(self, x):
        return self.twice(x) if not {is_async} else x * 2

    @ember.method()
    def twice(self, x):
        return x * 2

    @ember.method()
    def thread(self):
        return threading.current_thread() is threading.main_thread()

    @ember.exit()
    {a}def close(self):
        print("leaving")
        open("closed", "a").write("once ")
"""
METHODS = ["state", "helped", "twice", "thread"]
MODES: dict[str, dict[str, Any]] = {
    "sync": {"is_async": False, "max_inputs": 1},
    "threads": {"is_async": False, "max_inputs": 4},
    "tasks": {"is_async": True, "max_inputs": 4},
}


def start(runner: RunnerProcess, mode: str = "sync", code: str = CLASS, **more: Any) -> None:
    is_async = MODES[mode]["is_async"]
    code = code.replace("{a}", "async " if is_async else "").replace("{is_async}", str(is_async))
    settings = {"methods": METHODS, "class_arguments": {}, "options": {}, **MODES[mode], **more}
    runner.start(code, "Model", **settings)


def ended(runner: RunnerProcess) -> int:
    return runner.wait()


@pytest.fixture(params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def test_enter_has_run_before_the_runner_is_ready(runner: RunnerProcess, mode: str) -> None:
    start(runner, mode, class_arguments={"size": "70b", "key": "QUI="})
    runner.ready()
    assert [text for _, _, text in runner.logs()] == ["entering\n"]
    assert runner.call({"more": 3}).value == ["first", "70b", "AB", 3, "entered"]
    assert runner.call().value == ["first", "70b", "AB", 0, "entered"]


def test_inputs_go_to_the_method_that_they_name(runner: RunnerProcess, mode: str) -> None:
    start(runner, mode)
    runner.ready()
    assert runner.call({"x": 4}, method=1).value == 8
    assert runner.call(args=("ab",), method=2).value == "abab"
    refused = runner.call({"y": 4}, method=2)
    assert refused.kind == frames.ERROR
    assert refused.json["message"] == 'missing "x"; the function takes: x'
    assert runner.call(args=(1, 2), method=2).json["message"].startswith("too many positional")
    assert runner.call(method=3).value == (mode == "sync")


@pytest.mark.parametrize("how", ["stop", "term"])
def test_exit_runs_once_when_the_runner_is_stopped(
    runner: RunnerProcess, mode: str, how: str
) -> None:
    start(runner, mode)
    runner.ready()
    assert runner.call().kind == frames.RESULT
    if how == "stop":
        runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    else:
        assert runner.process is not None
        runner.process.send_signal(signal.SIGTERM)
    assert ended(runner) == 0
    assert (runner.directory / "closed").read_text() == "once "


def test_a_stop_while_an_input_runs_lets_it_end_and_then_exits(
    runner: RunnerProcess, mode: str
) -> None:
    code = (
        CLASS
        + """
    @ember.method()
    {a}def slow(self):
        open("began", "w").close()
        while not os.path.exists("go"):
            {sleep}
        return os.path.exists("closed")
"""
    )
    sleep = "await asyncio.sleep(0.005)" if mode == "tasks" else "time.sleep(0.005)"
    start(runner, mode, code.replace("{sleep}", sleep), methods=["slow"])
    runner.ready()
    runner.input(5)
    wait_for_file(runner.directory / "began")
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    (runner.directory / "go").touch()
    assert runner.answer(5).value is False
    assert ended(runner) == 0
    assert (runner.directory / "closed").read_text() == "once "


def test_exit_does_not_run_after_a_crash(runner: RunnerProcess, mode: str) -> None:
    code = CLASS + "\n    @ember.method()\n    {a}def crash(self):\n        os._exit(3)\n"
    start(runner, mode, code, methods=["crash"])
    runner.ready()
    runner.input(1)
    assert ended(runner) == 3
    assert not (runner.directory / "closed").exists()


def test_an_enter_that_fails_is_a_failed_start_with_its_own_frames(
    runner: RunnerProcess, mode: str
) -> None:
    code = CLASS.replace('seen.set("entered")', 'raise ValueError("no weights")')
    start(runner, mode, code)
    failed = runner.expect(frames.FAILED)
    assert failed.json["kind"] == "load_failed"
    assert (failed.json["type"], failed.json["message"]) == ("ValueError", "no weights")
    first = failed.json["traceback"].splitlines()[1]
    assert "user_code.py" in first and "in load" in first
    assert ended(runner) == 70
    assert not (runner.directory / "closed").exists()


def test_a_method_that_the_class_lacks_is_a_failed_start(runner: RunnerProcess) -> None:
    start(runner, methods=["gone"])
    assert runner.expect(frames.FAILED).json["message"] == "'gone'"


def test_an_exit_that_fails_keeps_no_other_from_its_turn(runner: RunnerProcess, mode: str) -> None:
    early = "    @ember.exit()\n    {a}def early(self):\n        raise OSError('full')\n\n"
    code = CLASS.replace("    @ember.exit()", early + "    @ember.exit()")
    start(runner, mode, code)
    runner.ready()
    runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    assert ended(runner) == 0
    assert (runner.directory / "closed").read_text() == "once "


@pytest.mark.parametrize("where", ["enter", "exit"])
def test_hooks_can_call_other_functions(runner: RunnerProcess, mode: str, where: str) -> None:
    ask = 'ember.Function.from_name("test", "other").remote'
    ask = f"await {ask}.aio(1)" if mode == "tasks" else f"{ask}(1)"
    code = f"""
@app.cls()
class Model:
    answer: int = ember.parameter(init=False)

    @ember.{where}()
    {{a}}def ask(self):
        self.answer = {ask}
        print("answered", self.answer)

    @ember.method()
    {{a}}def get(self):
        return self.answer
"""
    start(runner, mode, code, methods=["get"])
    if where == "exit":
        runner.ready()
        runner.send(frames.frame(frames.STOP, 0, 0, 0, b""))
    call = runner.expect(frames.CALL)
    answer = pickle.dumps(41, 5)
    runner.send(frames.frame(frames.CALL_RESULT, frames.PICKLE, 0, call.stream, answer))
    if where == "enter":
        runner.ready()
        assert runner.call().value == 41
    else:
        assert runner.expect(frames.LOG).log == (1, "answered 41\n")
        assert ended(runner) == 0


def test_a_sync_method_beside_async_ones_leaves_the_loop_free(runner: RunnerProcess) -> None:
    code = """
import asyncio, threading
came = threading.Event()

@app.cls()
class Model:
    @ember.method()
    def blocks(self):
        return came.wait(30)

    @ember.method()
    async def frees(self):
        came.set()
"""
    start(runner, "tasks", code, methods=["blocks", "frees"])
    runner.ready()
    runner.input(1)
    runner.input(2, method=1)
    assert runner.answer(1).value is True


def test_a_sync_method_beside_async_ones_can_be_cancelled(runner: RunnerProcess) -> None:
    code = """
import time

@app.cls()
class Model:
    @ember.method()
    def spins(self):
        open("began", "w").close()
        try:
            while True:
                time.sleep(0.001)
        except ember.InputCancelled:
            open("cleaned", "w").close()
            raise

    @ember.method()
    async def other(self):
        return 1
"""
    start(runner, "tasks", code, methods=["spins", "other"])
    runner.ready()
    runner.input(1)
    wait_for_file(runner.directory / "began")
    runner.cancel(1)
    assert runner.answer(1).json["kind"] == "cancelled"
    assert (runner.directory / "cleaned").exists()
    assert runner.call(method=1).value == 1


def test_calls_of_classes_from_a_container_name_their_variant(
    runner: RunnerProcess, mode: str
) -> None:
    ask = 'ember.Cls.from_name("far", "Cls")(size="1b").f.remote'
    ask = f"await {ask}.aio(1)" if mode == "tasks" else f"{ask}(1)"
    code = f"""
@app.cls()
class Model:
    @ember.method()
    {{a}}def ask(self):
        return {ask}
"""
    start(runner, mode, code, methods=["ask"])
    runner.ready()
    runner.input(1)
    asked = runner.expect(frames.VARIANT)
    assert asked.json == {
        "app": "far", "function": "Cls", "parameters": {"size": "1b"}, "options": {},
    }  # fmt: skip
    known = json.dumps({"variant": "va-7"}).encode()
    runner.send(frames.frame(frames.CALL_RESULT, frames.JSON, 0, asked.stream, known))
    call = runner.expect(frames.CALL)
    head = json.loads(call.body[2 : 2 + int.from_bytes(call.body[:2], "little")])
    assert (head["function"], head["variant"]) == ("Cls.f", "va-7")
    answer = pickle.dumps(5, 5)
    runner.send(frames.frame(frames.CALL_RESULT, frames.PICKLE, 0, call.stream, answer))
    assert runner.answer(1).value == 5


def test_a_method_calls_its_own_class_with_its_own_parameters(runner: RunnerProcess) -> None:
    code = """
@app.cls()
class Model:
    size: str = ember.parameter(default="7b")

    @ember.method()
    def ask(self):
        return self.ask.remote()
"""
    more = {"class_arguments": {"size": "1b"}, "options": {"timeout_ms": 5}, "app": "deployed"}
    start(runner, "sync", code, methods=["ask"], **more)
    runner.ready()
    runner.input(1)
    asked = runner.expect(frames.VARIANT)
    assert asked.json == {
        "app": "deployed",
        "function": "Model",
        "parameters": {"size": "1b"},
        "options": {"timeout_ms": 5},
    }
