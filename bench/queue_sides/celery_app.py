"""Celery on Redis. A job is acknowledged when it has run, so that one whose worker dies is not lost, as with Ember."""

from __future__ import annotations

import os

from celery import Celery

REDIS = f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}"
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "4"))  # of this process

app = Celery("bench", broker=f"{REDIS}/0", backend=f"{REDIS}/1")
app.conf.update(
    broker_pool_limit=CONNECTIONS,
    # One that kombu opens to look whether the broker is there comes on top.
    broker_transport_options={"max_connections": CONNECTIONS + 1},
    task_acks_late=True,
)


def run(n: int) -> int:
    return n


echo = app.task(name="echo")(run)


def enqueue() -> None:
    echo.apply_async((1,), ignore_result=True)


def round_trip() -> None:
    echo.apply_async((1,)).get(timeout=30)
