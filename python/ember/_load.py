"""Importing a user's script by its path, under the name that it has in a container too.

As `__main__` its types would differ from those of the container, which imports it by name.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from ember._app import App
from ember.exception import InvalidArgumentError, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class ScriptError(InvalidArgumentError):
    """The script can't be imported: `traceback` has the frames of the user's code."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


def load(path: str) -> tuple[ModuleType, App]:
    """Imports the script and finds its app."""
    module = load_module(path)
    return module, find_app(module)


def load_module(path: str) -> ModuleType:
    """Imports a file as the module that it is: `a/b.py` in package `a` is `a.b`."""
    if not path.endswith(".py"):
        raise ScriptError(f"{path} is not a .py file")
    if not os.path.isfile(path):
        raise ScriptError(f"{path} is not there")
    directory, name = _place(os.path.abspath(path))
    if not all(part.isidentifier() for part in name.split(".")):
        raise ScriptError(
            f"{path} can't be imported as a module: rename it to letters, digits and underscores"
        )
    if directory not in sys.path[:1]:
        sys.path.insert(0, directory)
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__file__", None) != os.path.abspath(path):
        raise ScriptError(f"{path}: a module named {name} is loaded already; rename the file")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {text_of(error)}"
        raise ScriptError(f"{path} can't be imported: {why}", _user_traceback(error)) from error


def find_app(module: ModuleType) -> App:
    """The one app of a module; of several the one named `app`."""
    apps = {id(v): v for v in vars(module).values() if isinstance(v, App)}
    if len(apps) == 1:
        return next(iter(apps.values()))
    named = getattr(module, "app", None)
    if isinstance(named, App):
        return named
    where = getattr(module, "__file__", module.__name__)
    if not apps:
        raise ScriptError(f'{where} has no app: add `app = ember.App("name")`')
    names = ", ".join(sorted(app.name for app in apps.values()))
    raise ScriptError(f"{where} has several apps ({names}): name the one to use `app`")


def _place(path: str) -> tuple[str, str]:
    """The directory to import from and the dotted name."""
    directory, file = os.path.split(path)
    parts = [] if file == "__init__.py" else [file[: -len(".py")]]
    while os.path.exists(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        parts.insert(0, package)
    return directory, ".".join(parts)


def _user_traceback(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(
        (__file__, "<frozen importlib", importlib.__file__)
    ):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))
