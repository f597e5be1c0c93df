"""When the server runs a deployed function by itself."""

from __future__ import annotations

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

_MISSED = ("skip", "run_once")
_OVERLAP = ("skip", "allow")
_FIELDS = 5
_LEAST_S = 1.0
_MOST_S = 366 * 24 * 3600.0


class Cron:
    """At the minutes that a cron expression names, on the clocks of a time zone.

    "0 6 * * *" is six o'clock each day: minute, hour, day of the month, month, day of the week.
    missed: what becomes of ticks while no server was there; "run_once" runs the newest at its
    start. overlap: what becomes of a tick while the call of the last one still lives.
    """

    def __init__(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        missed: Literal["skip", "run_once"] = "skip",
        overlap: Literal["skip", "allow"] = "skip",
    ) -> None:
        for name, value in (("cron", expression), ("timezone", timezone)):
            if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidArgumentError(f"{name}: expected str, got {type(value).__name__}")
        if len(expression.split()) != _FIELDS and not expression.startswith("@"):
            raise InvalidArgumentError(
                f"cron: {expression!r} has not five fields: minute, hour, day of the month, month "
                'and day of the week, as in "0 6 * * *"'
            )
        self.expression = expression
        self.timezone = timezone
        self.missed = _word("missed", missed, _MISSED)
        self.overlap = _word("overlap", overlap, _OVERLAP)

    def spec(self) -> dict[str, Any]:
        """As a deploy says it."""
        return {
            "cron": self.expression,
            "timezone": self.timezone,
            "missed": self.missed,
            "overlap": self.overlap,
        }

    def __repr__(self) -> str:
        return f"<ember.Cron {self.expression!r} {self.timezone}>"


class Period:
    """Once in so long, counted from the deploy that brought it; 1 second to 366 days.

    A deploy that leaves the period as it was does not start it anew. missed, overlap: as of Cron.
    """

    def __init__(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        missed: Literal["skip", "run_once"] = "skip",
        overlap: Literal["skip", "allow"] = "skip",
    ) -> None:
        self.seconds = 0.0
        for name, value, unit_s in (
            ("days", days, 86400),
            ("hours", hours, 3600),
            ("minutes", minutes, 60),
            ("seconds", seconds, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidArgumentError(f"{name}: expected a number, got {type(value).__name__}")
            self.seconds += value * unit_s
        if not _LEAST_S <= self.seconds <= _MOST_S:
            raise InvalidArgumentError(
                f"period: {self.seconds:g} s is not between 1 second and 366 days"
            )
        self.missed = _word("missed", missed, _MISSED)
        self.overlap = _word("overlap", overlap, _OVERLAP)

    def spec(self) -> dict[str, Any]:
        """As a deploy says it."""
        return {
            "period_ms": round(self.seconds * 1000),
            "missed": self.missed,
            "overlap": self.overlap,
        }

    def __repr__(self) -> str:
        return f"<ember.Period {self.seconds:g} s>"


def schedule_spec(schedule: Cron | Period | None) -> dict[str, Any] | None:
    """Of a function's setting."""
    if schedule is None:
        return None
    if not isinstance(schedule, (Cron, Period)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            'schedule: expected ember.Cron("0 6 * * *") or ember.Period(hours=1), got '
            f"{type(schedule).__name__}"
        )
    return schedule.spec()


def check_callable_alone(name: str, raw: Callable[..., Any]) -> None:
    """Refuses a function that cannot be called without arguments, as a schedule does."""
    from ember._signature import parameters

    needed = [parameter.name for parameter in parameters(raw) if parameter.required]
    if needed:
        raise InvalidArgumentError(
            f"{name} has a schedule, which calls it without arguments; give {', '.join(needed)} "
            "a default"
        )


def _word(name: str, value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        words = " or ".join(f'"{word}"' for word in known)
        raise InvalidArgumentError(f"{name}: {value!r} is not {words}")
    return str(value)
