"""BentoML: one worker, the same handler; no access log, no metrics."""

from __future__ import annotations

import bentoml


@bentoml.service(
    workers=1,
    traffic={"timeout": 30},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Work:
    @bentoml.api(route="/work")
    async def work(self, items: list) -> list:
        return items
