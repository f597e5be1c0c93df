"""Ray Serve: one replica, the same handler; its response as the answer, which spares the walk through the objects."""

from __future__ import annotations

import sys

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
class Work:
    async def __call__(self, request: Request) -> JSONResponse:
        return JSONResponse((await request.json())["items"])


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    app = Work.bind()  # pyright: ignore[reportAttributeAccessIssue]
    serve.run(app, route_prefix="/work", blocking=True)
