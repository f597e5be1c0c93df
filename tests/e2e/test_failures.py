"""However user code ends, its caller gets one typed error and the next call goes unharmed."""

from __future__ import annotations

import pytest
from conftest import Answer, Server


def must_fail(answer: Answer, status: int, code: str) -> str:
    assert (answer.status, answer.code) == (status, code), answer
    assert answer.headers["ember-call-id"].startswith("fc-")
    return answer.message


def test_an_exception_comes_with_its_remote_frames(server: Server, failures: str) -> None:
    answer = server.call(failures, "fail", kind="raise")
    must_fail(answer, 500, "user_exception")
    exception = answer.document["error"]["exception"]
    assert exception["type"].endswith("Unhappy")
    assert exception["message"] == "no luck today"
    assert "in deep" in exception["traceback"]
    assert server.result(failures, "fail", kind="none") == "unharmed"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("sys_exit", 500, "user_exception"),
        ("os_exit", 502, "container_crashed"),
        ("segfault", 502, "container_crashed"),
    ],
)
def test_an_end_of_the_process_is_one_typed_error(
    server: Server, failures: str, kind: str, status: int, code: str
) -> None:
    must_fail(server.call(failures, "fail", kind=kind), status, code)
    assert server.result(failures, "fail", kind="none") == "unharmed"
    words = ("call", f"{failures}.fail", kind)
    assert "Traceback" not in server.cli(*words, status=1).stderr.replace("SystemExit", "") or (
        kind == "sys_exit"
    )


@pytest.mark.parametrize("function", ["loop", "stubborn"])
def test_a_loop_without_end_times_out(server: Server, failures: str, function: str) -> None:
    message = must_fail(server.call(failures, function, forever=True), 504, "timed_out")
    assert "1" in message  # the limit
    assert server.result(failures, function, forever=False) == "unharmed"


def test_a_container_over_its_memory_is_told_so(server: Server, failures: str) -> None:
    missing = server.http("GET", "/api/v1/status").document["missing"]
    if any("memory" in entry for entry in missing):
        pytest.skip(f"this machine has no memory limit: {missing}")
    message = must_fail(server.call(failures, "eat", mebibytes=2000), 502, "out_of_memory")
    assert "128" in message
    assert server.result(failures, "eat", mebibytes=1) == 1


def test_a_result_that_json_cannot_carry_is_the_function_s_error(
    server: Server, failures: str
) -> None:
    answer = server.call(failures, "unserializable")
    assert answer.status == 500
    assert answer.document["error"]["exception"]["kind"] == "result_not_serializable"
