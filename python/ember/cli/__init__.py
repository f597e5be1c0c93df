"""The ``ember`` command: ``main`` reads the command line and returns the exit status.

A command line that answers at once is worth more than a framework: each command lives in a module
of its own that is imported when it is asked for, and modules here import only what every command
needs. Data goes to stdout, all else to stderr.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    from . import _main

    return _main.main(argv)
