"""Runs a function of the user's while an image is built: ``main`` is given its module and name."""

from __future__ import annotations

import importlib
import sys

from ember import _context


def main() -> None:
    """Import the module, call the function, and let its exception end the step."""
    module_name, qualname = sys.argv[1:3]
    _context.in_container = True
    found: object = importlib.import_module(module_name)
    for name in qualname.split("."):
        found = getattr(found, name)
    function = getattr(found, "raw", None) or found
    if not callable(function):
        raise TypeError(f"{module_name}.{qualname} is no function")
    function()
