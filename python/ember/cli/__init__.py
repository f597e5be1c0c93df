"""The ``ember`` command: ``main`` reads the command line and returns the exit status.

A command line that answers at once is worth more than a framework: each command lives in a module
of its own that is imported when it is asked for, and modules here import only what every command
needs. Data goes to stdout, all else to stderr.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; without one, the process's own, and end."""
    from . import _main

    if argv is not None:
        return _main.main(argv)
    return _as_process(_main.main)


def _as_process(run: Callable[[Sequence[str]], int]) -> int:
    """Spare a short life its garbage collection and teardown: a fifth of what a command costs.

    Where user code was loaded both are as usual, for its sake.
    """
    import gc
    import os
    import sys

    gc.disable()
    status = run(sys.argv[1:])
    if "ember.cli._script" not in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                continue  # it is told already, or there is no place to tell it
        os._exit(status)
    return status
