"""How far a call is, in the words of its function."""

from __future__ import annotations

from ember import _context
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_METRICS = 32
_MAX_NAME = 64


def progress(
    *,
    step: float | None = None,
    total: float | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Says how far the call is that runs here, for whoever looks at it: `ember call show`.

    It may be said at each step: some of it is left out, the last never. Outside of a call nothing
    comes of it.
    """
    told: dict[str, object] = {
        "step": None if step is None else _number("step", step),
        "total": None if total is None else _number("total", total),
    }
    told["metrics"] = {_name(name): _number(name, one) for name, one in (metrics or {}).items()}
    if len(metrics or ()) > _MAX_METRICS:
        raise InvalidArgumentError(f"metrics: more than {_MAX_METRICS}")
    key = _context.current_key() if _context.in_container else None
    if key is None:
        return
    from ember.runner import _progress

    _progress.tell(key, told)


def _name(name: object) -> str:
    if isinstance(name, str) and 0 < len(name) <= _MAX_NAME:
        return name
    raise InvalidArgumentError(f"metrics: {name!r} is not a name of 1 to {_MAX_NAME} characters")


def _number(what: str, value: object) -> float | None:
    """A number that JSON has; of other libraries too. None for one that is not finite."""
    if isinstance(value, int):
        return int(value)
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{what}: expected a number, got {value!r}") from None
    return number if abs(number) < float("inf") else None
