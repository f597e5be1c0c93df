"""The records of a server that is down, and its ids as it writes them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def records_of(data: Path, query: str) -> list[sqlite3.Row]:
    """The rows of a query of its store."""
    store = sqlite3.connect(f"file:{data}/serve/state.db?mode=ro", uri=True)
    store.row_factory = sqlite3.Row
    with contextlib.closing(store):
        return store.execute(query).fetchall()


def id_text(prefix: str, number: int) -> str:
    """An id of the store as text."""
    value = number & (1 << 64) - 1
    return prefix + "".join(_DIGITS[value >> shift & 31] for shift in range(60, -1, -5))
