"""A peer's own clients: how many jobs they get in, each by a call of its own, or how long one takes to its result.

`clients.py PEER accepts PROCESSES CONNECTIONS SECONDS` has a thread for each connection, in so many processes.
`clients.py PEER round_trips COUNT` makes one after the other.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import threading
import time


class Clients:
    """What the processes share: who is connected, and the time that counts, on the machine's own clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.connected = multiprocessing.Semaphore(0)
        self.begin = multiprocessing.RawValue("d", 0.0)  # zero until all are connected
        self.results = multiprocessing.SimpleQueue()

    def run(self, peer: str, threads: int) -> None:
        """A process: how many calls were answered in the time, how many in all, and what went wrong."""
        os.environ["BENCH_CONNECTIONS"] = str(threads)
        app = importlib.import_module(f"{peer}_app")
        counted, total = [0] * threads, [0] * threads
        errors: list[str] = []

        def loop(number: int) -> None:
            try:
                app.enqueue()  # which opens the connection
            except Exception as error:
                errors.append(repr(error))
            self.connected.release()
            while not errors:
                try:
                    app.enqueue()
                except Exception as error:
                    errors.append(repr(error))
                now, begin = time.monotonic(), self.begin.value
                if begin and now > begin + self.seconds:
                    return
                total[number] += 1
                counted[number] += begin > 0 and now >= begin

        loops = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
        for one in loops:
            one.start()
        for one in loops:
            one.join()
        self.results.put((sum(counted), sum(total), errors))


def accepts(peer: str, processes: int, connections: int, seconds: float) -> dict[str, float]:
    """Jobs a second of all processes."""
    clients = Clients(seconds)
    shares = [connections // processes + (i < connections % processes) for i in range(processes)]
    running = [multiprocessing.Process(target=clients.run, args=(peer, share)) for share in shares]
    for one in running:
        one.start()
    for _ in range(connections):
        clients.connected.acquire(timeout=60)
    clients.begin.value = time.monotonic()
    said = [clients.results.get() for _ in running]
    for one in running:
        one.join()
    errors = [error for _, _, several in said for error in several]
    if errors:
        sys.exit(f"{len(errors)} of {connections} clients failed: {errors[0]}")
    counted, total = sum(one[0] for one in said), sum(one[1] for one in said)
    return {"enqueued": total, "accepts_per_s": counted / seconds}


def round_trips(peer: str, count: int) -> list[float]:
    """How long each took, in ms."""
    app = importlib.import_module(f"{peer}_app")
    took_ms = []
    for _ in range(count):
        began = time.perf_counter()
        app.round_trip()
        took_ms.append(1e3 * (time.perf_counter() - began))
    return took_ms


def main() -> None:
    peer, what, *numbers = sys.argv[1:]
    if what == "accepts":
        processes, connections = int(numbers[0]), int(numbers[1])
        print(json.dumps(accepts(peer, processes, connections, float(numbers[2]))))
    else:
        print(json.dumps(round_trips(peer, int(numbers[0]))))


if __name__ == "__main__":
    main()
