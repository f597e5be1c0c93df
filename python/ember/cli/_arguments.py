"""From the words of a command line to a function's arguments, by its parameters.

Every parameter may be given in its place or as ``--name value``; a bool also as ``--name`` and
``--no-name``. Words become values by annotation; without one, JSON where it is JSON, else text.
A ``bytes`` parameter takes a file, as ``path`` or ``@path``.
"""

from __future__ import annotations

import os
from collections import namedtuple

from ._exit import usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# kind: "in place" (or by name), "by name", "rest" (*args) or "named rest" (**kwargs).
# annotation: text such as "int" or "Optional[str]"; empty where there is none.
Parameter = namedtuple("Parameter", ["name", "kind", "annotation", "required"])

_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def bind(
    what: str, words: Sequence[str], parameters: Sequence[Parameter]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional (of ``*args`` only) and the named arguments of a function."""
    return _Binder(what, parameters).bind(list(words))


class _Binder:
    def __init__(self, what: str, parameters: Sequence[Parameter]) -> None:
        self.what = what
        self.named = {p.name: p for p in parameters if p.kind in ("in place", "by name")}
        self.in_place = [p for p in parameters if p.kind == "in place"]
        self.rest = next((p for p in parameters if p.kind == "rest"), None)
        self.named_rest = next((p for p in parameters if p.kind == "named rest"), None)
        self.values: dict[str, Any] = {}

    def bind(self, words: list[str]) -> tuple[list[Any], dict[str, Any]]:
        positional = []
        while words:
            word = words.pop(0)
            if word == "--":
                positional += words
                break
            if word.startswith("--"):
                self._take_option(word, words)
            else:
                positional.append(word)
        rest = self._place(positional)
        missing = [p.name for p in self.named.values()
                   if p.required and p.name not in self.values]
        if missing:
            raise self._error(f"{self.what} needs {' and '.join(missing)}")
        return rest, self.values

    def _take_option(self, word: str, words: list[str]) -> None:
        head, equals, text = word[2:].partition("=")
        name = head.replace("-", "_")
        if name not in self.named and not equals and self._is_flag(name[3:]) and \
                name.startswith("no_"):
            self._set(name[3:], False)
        elif name not in self.named and self.named_rest is None:
            from ._parser import close_names

            hint = close_names(name, self.named)
            raise self._error(f"{self.what} has no parameter {name!r}", hint)
        elif self._is_flag(name) and not equals:
            self._set(name, True)
        elif not equals and not words:
            raise self._error(f"--{head} needs a value")
        else:
            parameter = self.named.get(name) or self.named_rest
            self._set(name, self._value(parameter, name, text if equals else words.pop(0)))

    def _is_flag(self, name: str) -> bool:
        return name in self.named and _plain(self.named[name].annotation) == "bool"

    def _place(self, words: list[str]) -> list[Any]:
        """Give words to the parameters in their order; return those of ``*args``."""
        free = [p for p in self.in_place if p.name not in self.values]
        for parameter, word in zip(free, words):
            self._set(parameter.name, self._value(parameter, parameter.name, word))
        extra = words[len(free):]
        if extra and self.rest is None:
            raise self._error(f"{self.what} takes no argument {extra[0]!r}: "
                              f"it has {len(self.in_place)} in place")
        # With *args the named ones before it must be given in place too.
        before = [self.values.pop(p.name) for p in self.in_place] if extra else []
        return before + [self._value(self.rest, "argument", word) for word in extra]

    def _set(self, name: str, value: Any) -> None:
        if name in self.values:
            raise self._error(f"{name} is given twice")
        self.values[name] = value

    def _value(self, parameter: Parameter | None, name: str, text: str) -> Any:
        try:
            return value_of(text, parameter.annotation if parameter else "")
        except ValueError as error:
            raise self._error(f"{name}: {error}") from None

    def _error(self, message: str, hint: str = "") -> Exception:
        return usage_error(message, evidence=hint,
                           next_step=f"give {usage(self.what, self.named.values())}")


def usage(what: str, parameters: Any) -> str:
    """Return how to give a function's arguments, in one line."""
    words = [what]
    for parameter in parameters:
        kind = _plain(parameter.annotation)
        head = "--" + parameter.name.replace("_", "-")
        value = "" if kind == "bool" else " FILE" if kind == "bytes" else f" {kind.upper() or 'X'}"
        words.append(f"{head}{value}" if parameter.required else f"[{head}{value}]")
    return " ".join(words)


def value_of(text: str, annotation: str) -> Any:
    """Return the value that a word stands for; ValueError says why it does not fit."""
    kind = _plain(annotation)
    if kind == "str":
        return text
    if kind == "bytes":
        return _read(text[1:] if text.startswith("@") else text)
    if kind == "Path":
        import pathlib

        return pathlib.Path(text)
    if kind == "bool":
        return _bool(text)
    if kind in ("int", "float"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {'an integer' if kind == 'int' else 'a number'}"
                             ) from None
    return _guess(text)


def _plain(annotation: str) -> str:
    """Return ``int`` for ``Optional[int]``, ``int | None``, ``typing.Optional[int]``."""
    kind = annotation.strip().strip("'\"").replace("typing.", "").replace("pathlib.", "")
    if kind.startswith("Optional[") and kind.endswith("]"):
        kind = kind[len("Optional["):-1]
    parts = [part.strip() for part in kind.split("|") if part.strip() != "None"]
    return parts[0] if len(parts) == 1 else ""


def _bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _read(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"cannot read the file {path}: {error.strerror}") from None


def _guess(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text
