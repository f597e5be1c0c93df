"""An app that many call at once: at zero until the app `holds` gives its device up."""

import asyncio
import time

import ember

app = ember.App("herd")


@app.function(gpu="L4", max_containers=2)
@ember.concurrent(max_inputs=50)
async def work() -> int:
    at = time.monotonic_ns()
    await asyncio.sleep(0.01)
    return at
