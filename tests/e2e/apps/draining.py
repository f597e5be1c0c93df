"""A function that runs until it gets a signal, and then needs another one to come to its end."""

from __future__ import annotations

import signal

import ember

app = ember.App("draining")


@app.function()
def double(a: int) -> int:
    return 2 * a


class _LetGo(Exception):
    pass


@app.function(timeout=600)
def wait_then_double(a: int) -> int:
    def let_go(*_: object) -> None:
        raise _LetGo

    try:
        signal.signal(signal.SIGUSR2, let_go)
        signal.pause()
    except _LetGo:
        pass
    return double.remote(a)
