"""Where this code runs: the input that the runner is executing, and the runner itself.

Both sides import this and it imports next to nothing. `current` holds (input id, attempt, call id)
in the context of the code that executes an input, and tasks that it starts inherit it.
"""

from __future__ import annotations

from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember._watching import Watcher
    from ember.runner._runner import Runner

InputKey = tuple[int, int, int]  # input id, attempt, call id

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

current: ContextVar[InputKey] = ContextVar("ember_input")
in_container = False
progress_by_default = False  # at a terminal, under `ember run` or ember.enable_output()
# What watches the calls of a function from here, by its name; None: nothing does.
watch_calls: Callable[[str], Watcher] | None = None
runner: Runner | None = None  # once the function's module has been imported
# What the source calls its app, and the name that it is deployed under.
app_names: tuple[str, str] = ("", "")


def is_local() -> bool:
    """Whether this code runs outside Ember's containers."""
    return not in_container


def deployed_app(name: str) -> str:
    """The name to call an app by: code in a container may know its own by the one it declared."""
    declared, deployed = app_names
    return deployed if name == declared else name


def current_call_id() -> str | None:
    """The id of the call that this code serves, for example `fc-0v3q…`; None outside of one."""
    key = current_key()
    return id_text("fc", key[2]) if key else None


def current_input_id() -> str | None:
    """The id of the input that this code executes; None outside of one."""
    key = current_key()
    return id_text("in", key[0]) if key else None


def current_key() -> InputKey | None:
    """The input that this code executes; None outside of one."""
    key = current.get(None)
    return runner.sole_input() if key is None and runner is not None else key


def id_text(prefix: str, value: int) -> str:
    """An id as people see it: 13 digits of Crockford's base 32."""
    return f"{prefix}-" + "".join(_DIGITS[value >> shift & 31] for shift in range(60, -1, -5))
