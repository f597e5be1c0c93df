"""argparse with our manners: short errors that say what to do next."""

from __future__ import annotations

import argparse

from . import _terminal
from ._exit import usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn


class _Formatter(argparse.HelpFormatter):
    """Help for 80 columns; asking for the terminal's width would import shutil each time."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=79)


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors and never guesses at shortened options."""

    def __init__(self, prog: str, summary: str) -> None:
        super().__init__(
            prog=prog, description=summary, allow_abbrev=False, formatter_class=_Formatter
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing: one place writes errors."""
        raise usage_error(message, next_step=f"{self.prog} --help")

    def print_help(self, file: object = None) -> None:
        """Print it as all data is printed."""
        _terminal.write(self.format_help())

    def add_json(self) -> None:
        """Add ``--json``, which every command that shows data has."""
        self.add_argument("--json", action="store_true", help="print a JSON document")

    def add_rollout(self) -> None:
        """Add what says how a version takes the place of the one before it."""
        self.add_argument(
            "--strategy",
            choices=("rolling", "recreate"),
            default="rolling",
            help="rolling: the version before serves until the new one's containers are up; "
            "recreate: the new one takes over at once (default: %(default)s)",
        )
        self.add_argument(
            "--detach", action="store_true", help="do not wait until the new version serves"
        )

    def add_data(self) -> None:
        """Add ``--data``, for the commands that manage a server."""
        self.add_argument("--data", metavar="DIR", help="data directory (default: $EMBER_DATA)")


def close_names(word: str, names: Iterable[str]) -> str:
    """Return ``did you mean ...?`` with the names close to a word, or nothing."""
    import difflib

    found = difflib.get_close_matches(word, list(names), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(found)}?" if found else ""
