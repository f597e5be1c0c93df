"""RQ on Redis: a job is a hash and an entry of a list, written in one transaction."""

from __future__ import annotations

import os

from redis import ConnectionPool, Redis
from rq import Queue

PORT = int(os.environ["BENCH_REDIS_PORT"])
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "4"))  # of this process

pool = ConnectionPool(host="127.0.0.1", port=PORT, db=2, max_connections=CONNECTIONS)
jobs = Queue("bench", connection=Redis(connection_pool=pool))


def echo(n: int) -> int:
    return n


def enqueue() -> None:
    jobs.enqueue(echo, 1)


def round_trip() -> None:
    if jobs.enqueue(echo, 1).latest_result(timeout=30) is None:
        raise TimeoutError("no result in 30 s")
