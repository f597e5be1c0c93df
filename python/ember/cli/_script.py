"""The user's file: loaded, with its own error shown first where it has one."""

from __future__ import annotations

from ember._load import ScriptError, find_app
from ember._load import load_module as load_module_script
from ember.exception import EmberError

from . import _exit, _failure, _terminal
from ._exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ember._app import App


def load(path: str) -> tuple[ModuleType, App]:
    """Import a script and find its app, or end the command."""
    module = load_module(path)
    try:
        return module, find_app(module)
    except ScriptError as error:
        raise CommandError(str(error), status=_exit.USAGE) from error


def load_module(path: str) -> ModuleType:
    """Import a script, or end the command."""
    import gc

    gc.enable()  # see ember.cli
    try:
        return load_module_script(path)
    except ScriptError as error:
        cause = error.__cause__
        if isinstance(cause, EmberError):  # a decorator refused: that is no bug of the script's
            _terminal.say(_failure.user_frames(cause.__traceback__))
            raise CommandError(str(cause), status=_exit.USAGE) from error
        if error.traceback:
            _terminal.say(error.traceback.rstrip("\n"))
        status = _exit.USER_CODE_FAILED if error.traceback else _exit.USAGE
        raise CommandError(str(error), status=status) from error
