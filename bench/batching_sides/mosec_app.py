"""mosec: one worker, batches of at most 32, 5 ms for them to gather."""

from __future__ import annotations

import time

from mosec import Server, Worker


class Work(Worker):
    def forward(self, data: list[dict[str, int]]) -> list[int]:
        time.sleep(0.020 + 0.001 * len(data))
        return [len(data)] * len(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Work, num=1, max_batch_size=32, max_wait_time=5)
    server.run()
