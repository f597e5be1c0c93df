"""mosec: the same handler by single inputs and in batches, one worker each; JSON without the default's indents."""

from __future__ import annotations

import json

from mosec import Runtime, Server, Worker


class Compact(Worker):
    def serialize(self, data: list) -> bytes:
        return json.dumps(data, separators=(",", ":")).encode()


class Single(Compact):
    def forward(self, data: dict[str, list]) -> list:
        return data["items"]


class Batched(Compact):
    def forward(self, data: list[dict[str, list]]) -> list[list]:
        return [one["items"] for one in data]


if __name__ == "__main__":
    server = Server()
    batched = Runtime(Batched, num=1, max_batch_size=32, max_wait_time=1)
    server.register_runtime({"/inference": [Runtime(Single, num=1)], "/batched": [batched]})
    server.run()
