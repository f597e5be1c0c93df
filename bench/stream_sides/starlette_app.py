"""The same streams by a bare StreamingResponse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import ticking
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


async def lines(stream: int) -> AsyncIterator[str]:
    """One JSON document a line."""
    if stream < 0:
        yield json.dumps(ticking.take_stopped()) + "\n"
        return
    async for at_ns in ticking.ticks(stream):
        yield f"{at_ns}\n"


async def ticks(request: Request) -> StreamingResponse:
    """As of Ember's function."""
    stream = int((await request.json())["stream"])
    return StreamingResponse(lines(stream), media_type="application/x-ndjson")


app = Starlette(routes=[Route("/ticks", ticks, methods=["POST"])])
