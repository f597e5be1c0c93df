"""Greets."""

import sys


def main() -> None:
    """Greet whom the command line names."""
    print(f"Hello, {sys.argv[1]}!")
