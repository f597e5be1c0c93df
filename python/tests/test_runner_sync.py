"""A runner with a sync function, one input at a time: what goes in and comes out."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from conftest import RunnerProcess, input_frame

from ember.runner import _frames as frames

ECHO = """
@app.function()
def f(**kwargs):
    return kwargs
"""


def test_answers_json_with_json_and_pickle_with_pickle(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    got = runner.call({"a": [1, None, "é"]})
    assert (got.kind, got.format, got.attempt) == (frames.RESULT, frames.JSON, 1)
    assert got.body == '{"a":[1,null,"é"]}'.encode()
    got = runner.call({"a": {1, 2}}, args=())
    assert (got.format, got.value) == (frames.PICKLE, {"a": {1, 2}})


def test_says_hello_first_then_ready(runner: RunnerProcess) -> None:
    runner.start(ECHO)
    assert runner.hello.json["timeline_us"].keys() == {"interpreter", "imports"}
    assert min(runner.hello.json["timeline_us"].values()) > 0
    assert runner.expect(frames.READY).json["timeline_us"].keys() == {"load"}


def test_pipelined_inputs_are_answered_in_order(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    runner.send(b"".join(input_frame(i, {"i": i}, attempt=3) for i in range(1, 101)))
    for i in range(1, 101):
        got = runner.expect(frames.RESULT)
        assert (got.stream, got.attempt, got.json) == (i, 3, {"i": i})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": 1}, 'missing "b"; the function takes: a, b, c, d'),
        ({"a": 1, "b": "x", "q": 0}, 'unknown argument "q"; the function takes: a, b, c, d'),
        ({"a": "1", "b": "x"}, '"a": expected int, got str'),
        ({"a": True, "b": "x"}, '"a": expected int, got bool'),
        ({"a": 1, "b": None}, '"b": expected str, got null'),
        ({"a": 1, "b": "x", "c": "%%%"}, '"c": this is not valid base64'),
        ({"a": 1, "b": "x", "c": 5}, '"c": expected bytes as base64, got int'),
        ({"a": 1, "b": "x", "d": [1]}, '"d": expected float, got list'),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    runner: RunnerProcess, arguments: object, message: str
) -> None:
    runner.start("""
    @app.function()
    def f(a: int, b: str, c: bytes = b"", d: "float | None" = None):
        return [a, b, c, d]
    """).ready()
    got = runner.call(arguments)
    assert got.kind == frames.ERROR
    assert got.json["kind"] == "bad_arguments"
    assert got.json["status"] == 400
    assert got.json["message"] == message
    assert runner.call({"a": 1, "b": "x", "c": "AP8=", "d": 2}).json == [1, "x", "AP8=", 2.0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[1]", "must be a JSON object"),
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"a": 1} x', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(
    runner: RunnerProcess, raw: bytes, message: str
) -> None:
    runner.start(ECHO).ready()
    got = runner.call(raw=raw)
    assert got.json["kind"] == "bad_arguments"
    assert message in got.json["message"]
    assert runner.call(raw=b' {"a": 1}\n').json == {"a": 1}


def test_pickled_arguments_that_do_not_fit_are_named(runner: RunnerProcess) -> None:
    runner.start("""
    @app.function()
    def f(a, b=2):
        return a + b
    """).ready()
    assert runner.call(args=(1,)).value == 3
    for args, kwargs, message in [
        ((), {}, 'missing "a"; the function takes: a, b'),
        ((1, 2, 3), {}, "too many positional arguments: 3 for 2"),
        ((1,), {"a": 1}, '"a" is given twice'),
        ((1,), {"z": 1}, 'unknown argument "z"; the function takes: a, b'),
    ]:
        got = runner.call(kwargs, args=args)
        assert (got.json["kind"], got.json["message"]) == ("bad_arguments", message)


def test_starred_parameters_take_what_is_left(runner: RunnerProcess) -> None:
    runner.start("""
    @app.function()
    def f(a, /, b=2, *rest, c=3, **more):
        return [a, b, list(rest), c, more]
    """).ready()
    assert runner.call({"a": 1}).json == [1, 2, [], 3, {}]
    assert runner.call({"a": 1, "rest": [8, 9], "c": 4, "x": 5}).json == [1, 2, [8, 9], 4, {"x": 5}]
    assert runner.call({"rest": 1, "a": 1}).json["message"] == '"rest": expected list, got int'


def test_an_exception_travels_with_the_users_frames_only(runner: RunnerProcess) -> None:
    runner.start("""
    class Sad(Exception):
        pass

    def inner():
        raise Sad("no")

    @app.function()
    def f():
        inner()
    """).ready()
    got = runner.call()
    assert got.kind == frames.ERROR
    report = got.json
    assert (report["kind"], report["type"], report["message"]) == ("user_exception", "Sad", "no")
    assert report["status"] == 500
    lines = report["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "user_code.py" in lines[1]
    assert lines[-1] == "user_code.Sad: no"
    assert "ember/runner" not in report["traceback"]
    assert report["pickle"] is not None


def test_an_exception_is_reported_where_no_file_can_be_opened_any_more(
    runner: RunnerProcess,
) -> None:
    runner.start("""
    import os, resource

    @app.function()
    def f():
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        while True:
            os.open("/dev/zero", os.O_RDONLY)
    """).ready()
    report = runner.call().json
    assert (report["kind"], report["type"]) == ("user_exception", "OSError")
    assert report["message"] == "[Errno 24] Too many open files: '/dev/zero'"
    lines = report["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(", in f")
    assert lines[-1] == f"OSError: {report['message']}"
    assert "ember/runner" not in report["traceback"]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("import sys; sys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_exits_are_errors_that_leave_the_runner_unharmed(
    runner: RunnerProcess, statement: str, kind: str
) -> None:
    runner.start(f"""
    @app.function()
    def f(bad):
        if bad:
            {statement}
        return "fine"
    """).ready()
    got = runner.call({"bad": True})
    assert (got.json["kind"], got.json["type"]) == ("user_exception", kind)
    assert got.json["pickle"] is None
    assert runner.call({"bad": False}).json == "fine"


@pytest.mark.parametrize(
    "expression",
    ["object()", "float('nan')", "{(1, 2): 3}", "'\\ud800'", "circle()", "__import__('os')"],
)
def test_a_result_without_a_json_form_is_told(runner: RunnerProcess, expression: str) -> None:
    runner.start(f"""
    def circle():
        ring = []
        ring.append(ring)
        return ring

    @app.function()
    def f():
        return {expression}
    """).ready()
    got = runner.call()
    assert got.json["kind"] == "result_not_serializable"
    assert "can't be written as JSON" in got.json["message"]


def test_a_result_that_cannot_be_pickled_is_told(runner: RunnerProcess) -> None:
    runner.start("""
    import threading

    @app.function()
    def f():
        return threading.Lock()
    """).ready()
    got = runner.call(args=())
    assert got.json["kind"] == "result_not_serializable"


def test_a_closure_travels_by_value(runner: RunnerProcess) -> None:
    runner.start("""
    @app.function()
    def f(n):
        return lambda x: x + n
    """).ready()
    assert runner.call(args=(3,)).value(4) == 7


def test_output_is_tagged_and_precedes_the_answer(runner: RunnerProcess) -> None:
    runner.start("""
    import os, subprocess, sys
    print("while loading")

    @app.function()
    def f():
        print("out", 1)
        print("err", file=sys.stderr)
        os.write(1, b"raw\\n")
        subprocess.run(["echo", "child"])
        sys.stdout.buffer.write(b"bytes ")
        print("unended", end="")
    """).ready()
    assert runner.logs() == [(1, 0, "while loading\n")]
    runner.set_aside.clear()
    runner.call()
    logs = runner.logs()
    assert {stream for _, stream, _ in logs} == {1}
    # What a frame ends with ends a line, with a line break or without.
    out = [line for kind, _, text in logs if kind == 1 for line in text.splitlines()]
    assert sorted(out) == ["bytes unended", "child", "out 1", "raw"]
    assert "".join(text for kind, _, text in logs if kind == 2) == "err\n"


def test_raw_output_precedes_its_answer_each_time(runner: RunnerProcess) -> None:
    runner.start("""
    import os, time

    @app.function()
    def f(n):
        os.write(1, b"%d\\n" % n)
        until = time.monotonic() + n * 1e-6  # any moment of the reading thread's may be the end
        while time.monotonic() < until:
            pass
    """).ready()
    for n in range(1, 400):
        runner.input(n, {"n": n})
        runner.answer(n)
        assert runner.logs() == [(1, n, f"{n}\n")]
        runner.set_aside.clear()


def test_output_of_a_thread_belongs_to_the_only_input(runner: RunnerProcess) -> None:
    runner.start("""
    import threading

    @app.function()
    def f():
        thread = threading.Thread(target=print, args=("hello",))
        thread.start()
        thread.join()
    """).ready()
    runner.call()
    assert runner.logs() == [(1, 1, "hello\n")]


def test_a_forked_child_prints_without_speaking_frames(runner: RunnerProcess) -> None:
    runner.start("""
    import os

    @app.function()
    def f():
        child = os.fork()
        if child == 0:
            print("from the child", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        return "parent"
    """).ready()
    assert runner.call().json == "parent"
    assert (1, 1, "from the child\n") in runner.logs()


def test_knows_its_ids(runner: RunnerProcess) -> None:
    runner.start("""
    outside = ember.current_call_id()

    @app.function()
    def f():
        return [ember.is_local(), outside, ember.current_call_id(), ember.current_input_id()]
    """).ready()
    assert runner.call(call_id=33).json == [False, None, "fc-0000000000011", "in-0000000000001"]


def test_context_variables_do_not_leak_between_inputs(runner: RunnerProcess) -> None:
    runner.start("""
    from contextvars import ContextVar
    seen = ContextVar("seen", default="nothing")

    @app.function()
    def f(value):
        before = seen.get()
        seen.set(value)
        return before
    """).ready()
    assert runner.call({"value": "a"}).json == "nothing"
    assert runner.call({"value": "b"}).json == "nothing"


def test_big_bodies_go_both_ways(runner: RunnerProcess) -> None:
    runner.start(ECHO).ready()
    for size in (1 << 10, 300 << 10, 20 << 20, 1 << 10):
        got = runner.call({"text": "x" * size})
        assert len(got.json["text"]) == size


def test_a_body_comes_in_a_file(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start(ECHO).ready()
    path = tmp_path / "body"
    path.write_bytes(json.dumps({"text": "y" * 100_000}).encode())
    header = frames.HEADER.pack(8, frames.INPUT, frames.JSON | frames.IN_FILE, 1, 1)
    assert runner.connection is not None
    with path.open("rb") as file:
        data = header + (7).to_bytes(8, "little")
        socket.send_fds(runner.connection, [data], [file.fileno()])
    got = runner.answer(1)
    assert (got.format, len(got.json["text"])) == (frames.JSON, 100_000)
