"""What people see: styles, ticks, tables and quantities in words.

Escape codes are written only to a terminal, and never under ``NO_COLOR``. There tables fit its
columns: one column gives way. In a pipe nothing is cut, unless ``COLUMNS`` says how wide it is.
"""

from __future__ import annotations

import os
import sys

from ._exit import platform_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ERASE = "\r\x1b[2K"
_MIN_CUT_WIDTH = 8
_COLOUR = r"\x1b\[[0-9;:]*m"
# An escape sequence: one that ends with a letter, one with a text of its own, or a begun one.
_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)?|[ -/]*[0-Z\\`-~]?)"
# What moves a cursor, is a sequence by itself, or reverses what follows.
_CONTROL = "[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"


_live = ""  # the line that stands below all that is written


def is_terminal(stream: TextIO) -> bool:
    """Whether escape codes may be written to the stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _has_colour(stream: TextIO) -> bool:
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def style(text: str, name: str, stream: TextIO | None = None) -> str:
    """Return the text in a style, or as it is where the stream (stderr) shows none."""
    if not _has_colour(stream or sys.stderr):
        return text
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m"


def harmless(text: str, stream: TextIO) -> str:
    """Return a line of a stranger's text as the stream (a terminal or not) may show it.

    Colours stay where the stream has them; all else that would move the cursor, change the
    terminal or answer for its user goes. Of a line that is written over itself, such as a bar of
    progress, the last state stays.
    """
    if text.isprintable():
        return text
    import re

    text = next((part for part in reversed(text.split("\r")) if part), "")
    shows_colour = _has_colour(stream)

    def plain(found: re.Match[str]) -> str:
        return found[0] if shows_colour and re.fullmatch(_COLOUR, found[0]) else ""

    shown = re.sub(_ESCAPE, plain, text)
    end = "\x1b[0m" if "\x1b" in shown else ""
    return re.sub(_CONTROL, escaped, shown) + end


def escaped(found: re.Match[str]) -> str:
    """Return a character that must not reach a terminal as letters, the same as in JSON."""
    return f"\\u{ord(found[0]):04x}"


def width(stream: TextIO | None = None, without: int = 80) -> int:
    """Columns that a line may take: as told, else the stream's (stderr's), else as without any."""
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told) > 0:
        return max(40, int(told))
    try:
        return max(40, os.get_terminal_size((stream or sys.stderr).fileno()).columns)
    except (OSError, ValueError):
        return without


def symbol(fancy: str, plain: str) -> str:
    """Return the first of the two that stderr can encode."""
    try:
        fancy.encode(sys.stderr.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return fancy


def say(text: str = "") -> None:
    """Write a line for people, to stderr; a command goes on where nobody can read it."""
    try:
        sys.stderr.write(_erased() + text + "\n" + _live)
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def has_live_line() -> bool:
    """Whether stderr is a terminal, where a line can be written over."""
    return is_terminal(sys.stderr)


def live(text: str) -> None:
    """Keep a line below all that is written, in the place of the last such one; "" for none."""
    global _live
    if not has_live_line() or (not text and not _live):
        return
    before = _erased()
    _live = cut(harmless(text, sys.stderr), width() - 1)
    try:
        sys.stderr.write(before + _live)
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def _erased() -> str:
    return _ERASE if _live else ""


def tick(text: str, elapsed_s: float | None = None) -> None:
    """Write the line of one thing that is done, with the time it took."""
    mark = style(symbol("✓", "+"), "green")
    took = "" if elapsed_s is None else seconds(elapsed_s)
    text = cut(text, width() - len(took) - 4)
    if took:
        text = text.ljust(width() - len(took) - 4)
    say(f"{mark} {text} {style(took, 'dim')}".rstrip())


def field(name: str, text: str) -> str:
    """Return a named text, indented, on as many lines as 80 columns need."""
    head = f"  {name:<11}"
    if len(head) + len(text) <= width():
        return head + text
    import textwrap

    return textwrap.fill(text, width(), initial_indent=head, subsequent_indent=" " * len(head))


def data(text: str) -> None:
    """Write a line of data, to stdout."""
    write(text + "\n")


def write(text: str) -> None:
    """Write data, to stdout."""
    live("")
    _to_stdout(lambda: sys.stdout.write(text))


def flush() -> None:
    """Have all data written that is on its way to stdout."""
    _to_stdout(sys.stdout.flush)


def _to_stdout(act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        _give_up(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise platform_error(f"stdout cannot be written: {error.strerror}") from error


def _give_up(stream: TextIO) -> None:
    """Let what is left for the stream go nowhere, lest it fails once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def document(value: object) -> None:
    """Write a JSON document, to stdout."""
    import json

    data(json.dumps(value, indent=2, ensure_ascii=False))


def seconds(value_s: float) -> str:
    """Return a duration in words: ``340 µs``, ``12 ms``, ``1.25 s``, ``3 min 20 s``."""
    if value_s < 0.001:
        return f"{value_s * 1e6:.0f} {symbol('µs', 'us')}"
    if value_s < 1:
        return f"{value_s * 1e3:.0f} ms" if value_s >= 0.01 else f"{value_s * 1e3:.1f} ms"
    if value_s < 60:
        return f"{value_s:.2f} s"
    minutes, rest = divmod(int(value_s + 0.5), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def milliseconds(value_ms: float) -> str:
    """Return a duration given in milliseconds, in words."""
    return seconds(value_ms / 1e3)


def money(text: str) -> str:
    """Return the server's decimal string as dollars, exact, without needless zeros."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(2, "0")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}${whole.lstrip('-')}.{fraction}"


def size(value_bytes: int) -> str:
    """Return a number of bytes in words, in powers of 1024."""
    number = float(value_bytes)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def clock(at_ms: int | None) -> str:
    """Return a time to the second, here."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000)) if at_ms else ""


def ago(at_ms: int | None) -> str:
    """Return how long ago a time was, in words."""
    if not at_ms:
        return "-"
    import time

    passed_s = time.time() - at_ms / 1e3
    if passed_s < 1:
        return "now"
    if passed_s < 60:
        return f"{passed_s:.0f} s ago"
    if passed_s < 3600:
        return f"{passed_s / 60:.0f} min ago"
    if passed_s < 48 * 3600:
        return f"{passed_s / 3600:.0f} h ago"
    return f"{passed_s / 86400:.0f} d ago"


def cut(text: str, columns: int) -> str:
    """Return the text, cut to so many columns."""
    text = " ".join(text.split())
    if len(text) <= columns:
        return text
    mark = symbol("…", "~")
    return text[: max(columns - 1, 0)] + mark


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    right: Sequence[str] = (),
    cut_column: str = "",
    empty: str = "",
    stream: TextIO | None = None,
) -> None:
    """Write rows as a table of the named columns, to stdout (or the stream).

    ``right`` names columns of numbers, ``cut_column`` the one that gives way when a line would be
    wider than the terminal, ``empty`` what to say instead of a table without rows.
    """
    out = stream or sys.stdout
    if not rows:
        if empty:
            say(empty)
        return
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    if cut_column:
        _give_way(widths, columns.index(cut_column), width(out, without=sys.maxsize))
    heads = [name.replace("_", " ") for name in columns]
    write_line = say if out is sys.stderr else data
    write_line(style(_line(heads, widths, columns, right), "dim", out))
    for line in cells:
        write_line(_line(line, widths, columns, right))


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else " ".join(str(value).split())


def _give_way(widths: list[int], index: int, columns: int) -> None:
    over = sum(widths) + 2 * (len(widths) - 1) - columns
    if over > 0:
        widths[index] = max(_MIN_CUT_WIDTH, widths[index] - over)


def _line(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[str], right: Sequence[str]
) -> str:
    parts = []
    for text, columns_wide, name in zip(cells, widths, columns):
        text = cut(text, columns_wide)
        parts.append(text.rjust(columns_wide) if name in right else text.ljust(columns_wide))
    return "  ".join(parts).rstrip()
