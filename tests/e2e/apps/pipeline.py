"""Functions that call functions: trees of calls, and loops that can't come to an end."""

from __future__ import annotations

import time

import ember

app = ember.App("pipeline")


@app.function(max_containers=4)
def leaf(number: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return number + 1


@app.function(max_containers=4)
def middle(number: int) -> int:
    return leaf.remote(number) + leaf.spawn(number).get()


@app.function(max_containers=4)
def root(number: int) -> int:
    spawned = middle.spawn(number)
    return middle.remote(number) + sum(leaf.map(range(3))) + spawned.get()


@app.function(max_containers=4)
def holds_children(seconds: float) -> int:
    leaf.spawn(1, seconds)
    return leaf.remote(2, seconds)


@app.function(max_containers=4)
def leaves_a_child(seconds: float) -> str:
    return leaf.spawn(1, seconds).call_id


@app.function(max_containers=1)
def itself(depth: int) -> int:
    return 0 if depth == 0 else 1 + itself.remote(depth - 1)


@app.function(max_containers=1)
def itself_later(depth: int) -> int:
    return 0 if depth == 0 else 1 + itself_later.spawn(depth - 1).get()


@app.function(max_containers=1)
def ping(depth: int) -> int:
    return 0 if depth == 0 else 1 + pong.remote(depth - 1)


@app.function(max_containers=1)
def pong(depth: int) -> int:
    return 0 if depth == 0 else 1 + ping.remote(depth - 1)


@app.function(max_containers=1)
def learns_of_it(depth: int) -> str:
    try:
        return f"{learns_of_it.remote(depth - 1)}" if depth else "came to its end"
    except ember.exception.DeadlockError as error:
        return f"told: {error}"
