"""One function calls another that ends badly, and the entrypoint tells what reached it."""

from __future__ import annotations

import ember
from failures import app, fail, loop


def call(kind: str) -> object:
    """Ends as the kind says, wherever it is called from."""
    if kind == "timeout":
        return loop.remote(True)
    if kind == "nowhere":
        return ember.Function.from_name("nope", "x").remote(1)
    return fail.remote(kind)


@app.function()
def outer(kind: str) -> object:
    return call(kind)


@app.function()
async def outer_async(kind: str) -> object:
    if kind == "timeout":
        return await loop.remote.aio(True)
    if kind == "nowhere":
        return await ember.Function.from_name("nope", "x").remote.aio(1)
    return await fail.remote.aio(kind)


@app.local_entrypoint()
def main(kind: str) -> None:
    for way in (call, outer.remote, outer_async.remote):
        try:
            way(kind)
        except Exception as error:
            frames = str(error.__cause__)
            print(type(error).__qualname__, "in deep" in frames, frames.count("in outer"))
