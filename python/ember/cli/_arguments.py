"""From the words of a command line to a function's arguments, by its parameters.

Every parameter may be given in its place or as ``--name value``; a bool also as ``--name`` and
``--no-name``. Words become values by the annotation; without one, JSON where it is JSON, else
text. A ``bytes`` parameter takes a file, as ``path`` or ``@path``.
"""

from __future__ import annotations

import os
from collections import namedtuple

from ._exit import usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# As ember._signature has them; here made from what the server tells.
Parameter = namedtuple("Parameter", ["name", "kind", "annotation", "required"])

PARAM_HELP = "a parameter of the class, as NAME=VALUE; may be repeated"

_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")
_JSON_TYPES = {"list": list, "dict": dict}


def take_params(words: list[str]) -> tuple[list[str], list[str]]:
    """Part the values of ``--param NAME=VALUE`` from all other words."""
    params: list[str] = []
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return params, [*rest, word, *words]
        if word.startswith("--param="):
            params.append(word.partition("=")[2])
        elif word == "--param" and words:
            params.append(words.pop(0))
        else:
            rest.append(word)
    return params, rest


def class_values(what: str, params: Sequence[str], parameters: Sequence[Any]) -> dict[str, Any]:
    """Return the parameters of a class that ``--param`` words give."""
    known = {p.name: p for p in parameters}
    values: dict[str, Any] = {}
    for word in params:
        name, equals, text = word.partition("=")
        if name not in known:
            from ._parser import close_names

            raise usage_error(
                f"{what} has no parameter {name!r}",
                evidence=close_names(name, known) or f"it has: {', '.join(known) or 'none'}",
                next_step=f"give --param {next(iter(known), 'NAME')}=VALUE",
            )
        if not equals:
            raise usage_error(f"--param {name} needs a value", next_step=f"--param {name}=VALUE")
        try:
            values[name] = value_of(text, known[name].annotation)
        except ValueError as error:
            raise usage_error(f"{name}: {error}", next_step=f"--param {name}=VALUE") from None
    return values


def bind(
    what: str, words: Sequence[str], parameters: Sequence[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a function: in place (only those that must be), and named."""
    return _Binder(what, parameters).bind(list(words))


class _Binder:
    def __init__(self, what: str, parameters: Sequence[Any]) -> None:
        self.what = what
        self.named = {p.name: p for p in parameters if p.kind not in ("args", "kwargs")}
        self.in_place = [p for p in self.named.values() if p.kind.startswith("positional")]
        self.args = next((p for p in parameters if p.kind == "args"), None)
        self.is_open = any(p.kind == "kwargs" for p in parameters)
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
        extra = self._place(positional)
        missing = [p.name for p in self.named.values() if p.required and p.name not in self.values]
        if missing:
            raise self._error(f"{self.what} needs {' and '.join(missing)}")
        return self._parted(extra)

    def _take_option(self, word: str, words: list[str]) -> None:
        head, equals, text = word[2:].partition("=")
        name = head.replace("-", "_")
        known = name in self.named
        if not known and not equals and name.startswith("no_") and self._is_flag(name[3:]):
            self._set(name[3:], False)
        elif not known and not self.is_open:
            from ._parser import close_names

            raise self._error(
                f"{self.what} has no parameter {name!r}", close_names(name, self.named)
            )
        elif self._is_flag(name) and not equals:
            self._set(name, True)
        elif not equals and not words:
            raise self._error(f"--{head} needs a value")
        else:
            self._set(name, self._value(name, text if equals else words.pop(0)))

    def _is_flag(self, name: str) -> bool:
        return name in self.named and self.named[name].annotation == "bool"

    def _place(self, words: list[str]) -> list[Any]:
        """Give words to the parameters in their order; return those left for ``*args``."""
        free = [p.name for p in self.in_place if p.name not in self.values]
        for name, word in zip(free, words):
            self._set(name, self._value(name, word))
        extra = words[len(free) :]
        if extra and self.args is None:
            raise self._error(f"{self.what} has no place for {extra[0]!r}")
        return [value_of(word, "any") for word in extra]

    def _parted(self, extra: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Put in place what is positional only, and all that stands before ``*args``."""
        in_place = []
        for parameter in self.in_place:
            if parameter.name not in self.values or not (
                extra or parameter.kind == "positional_only"
            ):
                break
            in_place.append(self.values.pop(parameter.name))
        return in_place + extra, self.values

    def _set(self, name: str, value: Any) -> None:
        if name in self.values:
            raise self._error(f"{name} is given twice")
        self.values[name] = value

    def _value(self, name: str, text: str) -> Any:
        try:
            return value_of(text, self.named[name].annotation if name in self.named else "any")
        except ValueError as error:
            raise self._error(f"{name}: {error}") from None

    def _error(self, message: str, hint: str = "") -> Exception:
        return usage_error(
            message, evidence=hint, next_step=f"give {usage(self.what, self.named.values())}"
        )


def usage(what: str, parameters: Iterable[Any]) -> str:
    """Return how to give a function's arguments, in one line."""
    words = [what]
    for parameter in parameters:
        head = "--" + parameter.name.replace("_", "-")
        if parameter.annotation != "bool":
            head += {"bytes": " FILE", "any": " X"}.get(
                parameter.annotation, f" {parameter.annotation.upper()}"
            )
        words.append(head if parameter.required else f"[{head}]")
    return " ".join(words)


def value_of(text: str, annotation: str) -> Any:
    """Return the value that a word stands for; ValueError says why it does not fit."""
    if annotation == "str":
        return text
    if annotation == "bytes":
        return _read(text[1:] if text.startswith("@") else text)
    if annotation == "bool":
        return _bool(text)
    if annotation in ("int", "float"):
        try:
            return int(text) if annotation == "int" else float(text)
        except ValueError:
            wanted = "an integer" if annotation == "int" else "a number"
            raise ValueError(f"{text!r} is not {wanted}") from None
    return _json(text, _JSON_TYPES.get(annotation))


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


def _json(text: str, wanted: type | None) -> Any:
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        if wanted:
            raise ValueError(f"{text!r} is not JSON: {error}") from None
        return text
    if wanted and not isinstance(value, wanted):
        raise ValueError(f"{text!r} is not a {wanted.__name__} in JSON")
    return value
