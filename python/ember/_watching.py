"""Who watches a call on its way to its first item or result, and what there is to see in a line."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Watcher(Protocol):
        """Is told how a call goes, by the thread that waits for it."""

        def on_status(self, status: dict[str, Any]) -> None:
            """It waits, or runs: {"phase", "ahead", "left_ms", "reason"}."""
            ...

        def on_progress(self, progress: dict[str, Any]) -> None:
            """Its function says how far it is: {"step", "total", "metrics", "at_ms"}."""
            ...

        def on_end(self) -> None:
            """All has come, or nobody wants the rest."""
            ...


def status_line(status: dict[str, Any], passed_s: float = 0.0) -> str:
    """Why a call waits, at which place and for how long yet, by a status of some time ago."""
    parts = [status["reason"]]
    if status.get("left_ms") is not None:
        left_s = status["left_ms"] / 1000 - passed_s
        parts.append(f"about {duration(left_s)} left" if left_s >= 1 else "any moment now")
    return ", ".join(parts)


def progress_line(progress: dict[str, Any] | None) -> str:
    """All that a function says of how far it is: step 120/1000, 12 %, loss 0.53."""
    if not progress:
        return ""
    parts = []
    if progress["step"] is not None:
        total = progress["total"]
        of = "" if total is None else f"/{number(total)}"
        parts.append(f"step {number(progress['step'])}{of}")
    if said := percent(progress):
        parts.append(said)
    parts += [f"{name} {number(value)}" for name, value in progress["metrics"].items()]
    return ", ".join(parts)


def percent(progress: dict[str, Any]) -> str:
    """How much of all that is; "" where nobody said."""
    step, total = progress["step"], progress["total"]
    return f"{100 * step / total:.0f} %" if step is not None and total else ""


def number(value: float | None) -> str:
    """A number as it is shown."""
    return "-" if value is None else f"{value:.6g}"


def duration(seconds: float) -> str:
    """As it is shown: "5 s", "2 min 03 s", "1 h 05 min"."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
