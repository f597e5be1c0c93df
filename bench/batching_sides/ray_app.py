"""Ray Serve: one replica, batches of at most 32, 5 ms for them to gather."""

from __future__ import annotations

import asyncio
import sys

import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
class Work:
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def work(self, x: list[int]) -> list[int]:
        await asyncio.sleep(0.020 + 0.001 * len(x))  # so that others are taken in meanwhile
        return [len(x)] * len(x)

    async def __call__(self, request: Request) -> int:
        return await self.work((await request.json())["x"])  # pyright: ignore[reportReturnType]


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    app = Work.bind()  # pyright: ignore[reportAttributeAccessIssue]
    serve.run(app, route_prefix="/work", blocking=True)
