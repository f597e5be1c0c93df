"""How often a function is run again after an attempt of its own that failed, and when."""

from __future__ import annotations

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_RETRIES = 10
_MAX_DELAY_S = 3600.0
_MAX_COEFFICIENT = 10.0


class Retries:
    """After an exception, a time-out or a crash: up to `max_retries` more executions.

    The first comes after `initial_delay_s`, each further one after `backoff_coefficient` times the
    delay before it, at most `max_delay_s`. A lost container or node uses none up.
    """

    def __init__(
        self,
        max_retries: int,
        *,
        backoff_coefficient: float = 2.0,
        initial_delay_s: float = 1.0,
        max_delay_s: float = 60.0,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int):
            raise InvalidArgumentError(
                f"retries: expected int or ember.Retries, got {type(max_retries).__name__}"
            )
        self.max_retries = int(_within("max_retries", max_retries, 0, _MAX_RETRIES))
        self.backoff_coefficient = _within(
            "backoff_coefficient", backoff_coefficient, 1.0, _MAX_COEFFICIENT
        )
        self.initial_delay_s = _within("initial_delay_s", initial_delay_s, 0.0, _MAX_DELAY_S)
        self.max_delay_s = _within("max_delay_s", max_delay_s, 0.001, _MAX_DELAY_S)

    def spec(self) -> dict[str, Any]:
        """As a deploy says it."""
        return {
            "max_retries": self.max_retries,
            "initial_delay_ms": round(self.initial_delay_s * 1000),
            "backoff_permille": round(self.backoff_coefficient * 1000),
            "max_delay_ms": round(self.max_delay_s * 1000),
        }


def retries_spec(retries: int | Retries | None) -> dict[str, Any] | None:
    """Of a function's setting; a number is that many, a second apart."""
    if retries is None:
        return None
    if not isinstance(retries, Retries):
        retries = Retries(retries, backoff_coefficient=1.0)
    return retries.spec()


def _within(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgumentError(f"{name}: expected a number, got {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidArgumentError(f"{name}: {value} is not between {least:g} and {most:g}")
    return value
