"""User code that failed: its own frames first, then one line of ours."""

from __future__ import annotations

import os

from ember.exception import EmberError, RemoteTraceback, text_of

from . import _exit, _terminal
from ._exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_IMPORTLIB = os.path.dirname(os.__file__) + "/importlib/"
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def is_user_s(error: BaseException) -> bool:
    """Whether user code raised it: in a container, or in this process and not as ours."""
    if isinstance(error.__cause__, RemoteTraceback):
        return True
    return not isinstance(error, (EmberError, CommandError))


def failed(what: str, error: BaseException, *, with_local_frames: bool = False) -> CommandError:
    """Write the user's frames; return the error that ends the command."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        _terminal.say(str(cause).strip("\n"))
    if with_local_frames:
        frames = user_frames(error.__traceback__)
        if frames:
            _terminal.say(
                "Here (most recent call last):" if cause else "Traceback (most recent call last):"
            )
            _terminal.say(frames)
    call_id = getattr(error if isinstance(error, EmberError) else cause, "call_id", None)
    return CommandError(
        f"{what} failed: {_one_line(error)}",
        status=_exit.USER_CODE_FAILED,
        next_step=f"ember call show {call_id}" if call_id else "",
    )


def _one_line(error: BaseException) -> str:
    text = text_of(error)
    if isinstance(error, EmberError):
        return text  # it says what it is
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def user_frames(trace: TracebackType | None) -> str:
    """Return the frames that are neither ours nor the interpreter's, as tracebacks show them."""
    import traceback

    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith((_OURS, "<frozen ", _IMPORTLIB))
    ]
    return "".join(traceback.format_list(frames)).rstrip("\n")
