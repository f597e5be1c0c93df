"""How a deployed function is scaled: changed without a deploy, and looked at."""

from __future__ import annotations

from ember import _context, _variant
from ember._aio import blocking
from ember._settings import options_spec
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._client import Client
    from ember._function_stats import FunctionStats
    from ember._variant import Variant


class Scaled:
    """What has containers of its own: a function, or an instance of a class."""

    def _pool(self) -> tuple[str, str, Variant | None]:
        """The app, the function or class, and how it differs from what is deployed."""
        raise NotImplementedError

    @blocking
    def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> dict[str, Any]:
        """Changes how many containers it has, at once and until the next deploy.

        What is not given stays. Returns all that holds from now on, by the names of
        `@app.function`.
        """
        given: Any = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }
        body = options_spec({name: value for name, value in given.items() if value is not None})
        client = _outside("update_autoscaler")
        answer = client.post_json(_path(self._pool(), "autoscaler"), body)
        answer["scaledown_window"] = answer.pop("scaledown_window_ms") / 1000
        return answer

    @blocking
    def get_current_stats(self) -> FunctionStats:
        """Inputs that wait and run now, containers, and how many inputs more these could take."""
        from ember._function_stats import FunctionStats

        client = _outside("get_current_stats")
        found = client.get_json(_path(self._pool(), "stats"))
        return FunctionStats(
            found["backlog"], found["containers"], found["running_inputs"], found["input_headroom"]
        )


def _path(pool: tuple[str, str, Variant | None], verb: str) -> str:
    from ember import _client

    app, name, variant = pool
    return _client.function_path(app, name, verb, _variant.id_of(app, variant))


def _outside(what: str) -> Client:
    if _context.in_container:
        raise InvalidArgumentError(f"{what} is not for code in containers: call it from outside")
    from ember import _client

    return _client.shared()
