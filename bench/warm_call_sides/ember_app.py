"""Our side of warm_call: the same handler as the peers'."""

import ember

app = ember.App("bench-warm-call")


@app.function(min_containers=1, max_containers=1, cpu=1.0, memory=1024)
@ember.concurrent(max_inputs=32, target_inputs=32)
async def echo(items: list) -> list:
    return items
