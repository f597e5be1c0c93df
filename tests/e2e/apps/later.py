"""Calls that nobody waits for, or not at once."""

from __future__ import annotations

import os
import time

import ember

app = ember.App("later")
attempts: dict[str, int] = {}


@app.function(max_containers=1)
def double(number: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return 2 * number


@app.function(max_containers=1)
def process_id(_which: int = 0) -> int:
    return os.getpid()


@app.function(retries=ember.Retries(2, initial_delay_s=0.01, backoff_coefficient=1.0))
def third_time_lucky(token: str) -> int:
    attempts[token] = attempts.get(token, 0) + 1
    if attempts[token] < 3:
        raise ValueError(f"attempt {attempts[token]}")
    return attempts[token]


@app.function(retries=ember.Retries(1, initial_delay_s=0.01))
def never_works(token: str) -> None:
    attempts[token] = attempts.get(token, 0) + 1
    raise ValueError(f"attempt {attempts[token]}")


@app.function(retries=1, timeout=1)
def hangs() -> None:
    time.sleep(600)


@app.function()
def takes_numbers(number: int) -> int:
    return number


@app.function(max_containers=1)
def holds_on() -> None:
    time.sleep(600)


@app.function()
def doubles(numbers: list[int]) -> list[int]:
    return ember.gather(*(double.spawn(number) for number in numbers))


@app.function()
def tells(url: str) -> str:
    return double.spawn.with_options(webhook=url, priority=2)(5).call_id


@app.function()
def is_not_done_yet() -> str:
    call = holds_on.spawn()
    try:
        call.get(timeout=0.1)
    except TimeoutError as error:
        return f"{type(error).__name__} {call.call_id}"
    return "it has ended"


@app.local_entrypoint()
def main() -> None:
    calls = [double.spawn(number) for number in range(5)]
    print(ember.gather(*calls))
    again = ember.FunctionCall.from_id(calls[3].call_id)
    print(again.get(), again.status()["state"])
    once = double.spawn.with_options(idempotency_key="main-1")
    print(once(21) == once(21), once(21).get())
