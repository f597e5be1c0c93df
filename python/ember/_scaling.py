"""How a deployed function is scaled: changed without a deploy, and looked at."""

from __future__ import annotations

from ember import _client, _context, _variant
from ember._settings import options_spec
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from ember._variant import Variant

    class FunctionStats(NamedTuple):
        """What a function has to do, and with what."""

        backlog: int  # inputs that wait, those that are to be tried again too
        num_total_runners: int  # containers that take inputs
        num_running_inputs: int
        input_headroom: int  # that these could take at once beside those that run
else:
    from collections import namedtuple

    FunctionStats = namedtuple(
        "FunctionStats", "backlog num_total_runners num_running_inputs input_headroom"
    )


def update(
    app: str,
    function: str,
    variant: Variant | None,
    *,
    min_containers: int | None,
    max_containers: int | None,
    buffer_containers: int | None,
    scaledown_window: float | None,
) -> dict[str, Any]:
    """Changes what is given; all that holds from now on, by the names of `@app.function`."""
    given: Any = {
        "min_containers": min_containers,
        "max_containers": max_containers,
        "buffer_containers": buffer_containers,
        "scaledown_window": scaledown_window,
    }
    body = options_spec({name: value for name, value in given.items() if value is not None})
    client = _outside("update_autoscaler")
    path = _client.function_path(app, function, "autoscaler", _variant.id_of(app, variant))
    answer = client.post_json(path, body)
    answer["scaledown_window"] = answer.pop("scaledown_window_ms") / 1000
    return answer


def stats(app: str, function: str, variant: Variant | None) -> FunctionStats:
    """What the pool has to do now."""
    client = _outside("get_current_stats")
    path = _client.function_path(app, function, "stats", _variant.id_of(app, variant))
    found = client.get_json(path)
    return FunctionStats(
        found["backlog"], found["containers"], found["running_inputs"], found["input_headroom"]
    )


def _outside(what: str) -> _client.Client:
    if _context.in_container:
        raise InvalidArgumentError(f"{what} is not for code in containers: call it from outside")
    return _client.shared()
