"""A function's parameters and how arguments are fitted to them.

Read from the code object: `inspect` takes longer to import than a whole runner may take to start.
The runner checks what comes in with it; a deploy sends the parameters along for the command line.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType
    from typing import Any

_KINDS = {kind.__name__: kind for kind in (bytes, int, float, bool, str, list, dict)}
_VARARGS, _VARKEYWORDS = 0x04, 0x08  # of co_flags


class BadArguments(Exception):
    """The arguments don't fit the function; the message names which and why."""


class Parameter:
    """One named parameter. `annotation` is the name of a plain type, or "any"."""

    __slots__ = ("annotation", "default", "kind", "name", "nullable", "required")

    def __init__(self, name: str, kind: str, annotation: object, **default: object) -> None:
        self.name = name
        self.kind = kind  # positional_only, positional_or_keyword, keyword_only, args or kwargs
        self.annotation, self.nullable = _plain_type(annotation)
        self.required = "value" not in default and kind not in ("args", "kwargs")
        self.default = default.get("value")

    def spec(self) -> dict[str, object]:
        """What a deploy says of it. A default is told where it is plain."""
        spec: dict[str, object] = {
            "name": self.name,
            "kind": self.kind,
            "annotation": self.annotation,
            "required": self.required,
        }
        if not self.required and isinstance(self.default, (str, int, float, bool, type(None))):
            spec["default"] = self.default
        return spec


def parameters(function: Callable[..., Any], *, of_elements: bool = False) -> list[Parameter]:
    """The parameters in the order in which they are declared.

    Those of a batched function are lists: `of_elements` asks what one input gives for each.
    """
    declared = unwrapped(function)
    code = declared.__code__
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    annotations = _annotations(declared)
    if of_elements:
        annotations = {name: _element_of(one) for name, one in annotations.items()}
    defaults: dict[str, object] = dict(declared.__kwdefaults__ or {})
    positional_defaults = declared.__defaults__ or ()
    first_default = count - len(positional_defaults)
    defaults.update(zip(code.co_varnames[first_default:count], positional_defaults))

    def parameter(name: str, kind: str) -> Parameter:
        default = {"value": defaults[name]} if name in defaults else {}
        return Parameter(name, kind, annotations.get(name), **default)

    names = list(code.co_varnames)
    result = [
        parameter(
            name, "positional_only" if i < code.co_posonlyargcount else "positional_or_keyword"
        )
        for i, name in enumerate(names[:count])
    ]
    rest = count + keyword_only
    keywords = [parameter(name, "keyword_only") for name in names[count:rest]]
    if code.co_flags & _VARARGS:
        result.append(Parameter(names[rest], "args", None))
        rest += 1
    result += keywords
    if code.co_flags & _VARKEYWORDS:
        result.append(Parameter(names[rest], "kwargs", None))
    return result


def unwrapped(function: Callable[..., Any]) -> FunctionType:
    """The function that decorators made with functools.wraps stand for."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    return function  # pyright: ignore[reportReturnType]


def _annotations(function: FunctionType) -> dict[str, object]:
    """The annotations with those that are text evaluated; one that can't be is left out."""
    try:
        raw = dict(function.__annotations__)
    except Exception:  # evaluated late (3.14), which runs user code
        return {}
    resolved = {}
    for name, annotation in raw.items():
        try:
            while isinstance(annotation, str):  # quoted, under `import annotations`: twice
                annotation = eval(annotation, function.__globals__)
        except Exception:
            continue  # names that only type checkers see: anything goes
        resolved[name] = annotation
    return resolved


def _element_of(annotation: object) -> object:
    """What a list that is annotated has in it; None where that is not said."""
    inside = getattr(annotation, "__args__", ())
    is_list = getattr(annotation, "__origin__", None) is list
    return inside[0] if is_list and len(inside) == 1 else None


def _plain_type(annotation: object) -> tuple[str, bool]:
    """The name of the plain type that an annotation asks of JSON, and whether None will do too."""
    origin = getattr(annotation, "__origin__", annotation)
    if type(annotation).__name__ == "UnionType" or "Union" in (
        getattr(origin, "_name", None),
        getattr(origin, "__name__", None),
    ):
        members = getattr(annotation, "__args__", ())
        others = [member for member in members if member is not type(None)]
        if len(others) != 1 or len(others) == len(members):
            return "any", True
        return _plain_type(others[0])[0], True
    name = getattr(origin, "__name__", "")
    return (name, False) if _KINDS.get(name, _KINDS) is origin else ("any", True)


class Plan:
    """What it takes to call one function with named arguments from JSON, worked out once."""

    def __init__(
        self, function: Callable[..., Any], *, is_method: bool = False, is_batched: bool = False
    ) -> None:
        self._parameters = parameters(function, of_elements=is_batched)[is_method:]  # without self
        self.named = named = [p for p in self._parameters if p.kind not in ("args", "kwargs")]
        self._open = any(p.kind == "kwargs" for p in self._parameters)
        self._positional = [p for p in named if p.kind.startswith("positional")]
        self._args = next((p.name for p in self._parameters if p.kind == "args"), None)
        self._ordered = self._args is not None or any(p.kind == "positional_only" for p in named)
        self.names = frozenset(p.name for p in named)
        self._required = [p.name for p in named if p.required]
        self._by_name = {p.name: p for p in named}
        # A parameter whose value has this very type needs no further look.
        self._typed = tuple(
            (p.name, None if p.annotation == "bytes" else _KINDS[p.annotation], p)
            for p in named
            if p.annotation != "any"
        )

    def fit(self, arguments: dict[str, Any]) -> tuple[list[Any] | tuple[()], dict[str, Any]]:
        """Positional and keyword arguments for a call. Takes the dict over."""
        if arguments.keys() != self.names:
            self._check_names(arguments)
        for name, kind, parameter in self._typed:
            if name in arguments:
                value = arguments[name]
                if type(value) is not kind:
                    arguments[name] = _converted(parameter, value)
        if self._ordered:
            return self._split(arguments)
        return (), arguments

    def check_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises BadArguments where Python itself would refuse the call."""
        if len(args) > len(self._positional) and self._args is None:
            raise BadArguments(
                f"too many positional arguments: {len(args)} for {len(self._positional)}"
            )
        given = [p.name for p in self._positional[: len(args)]]
        for name in kwargs:
            parameter = self._by_name.get(name)
            if parameter is None or parameter.kind == "positional_only":
                if not self._open:
                    raise BadArguments(self._unknown(name))
            elif name in given:
                raise BadArguments(f'"{name}" is given twice')
        for name in self._required:
            if name not in given and name not in kwargs:
                raise BadArguments(f'missing "{name}"; {self._takes()}')

    def _check_names(self, arguments: dict[str, Any]) -> None:
        for name in self._required:
            if name not in arguments:
                raise BadArguments(f'missing "{name}"; {self._takes()}')
        for name in arguments:
            if name not in self.names and name != self._args and not self._open:
                raise BadArguments(self._unknown(name))

    def _unknown(self, name: str) -> str:
        return f'unknown argument "{name}"; {self._takes()}'

    def _takes(self) -> str:
        return f"the function takes: {', '.join(self._by_name) or 'none'}"

    def _split(self, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for parameters that can't be given by name."""
        extra = arguments.pop(self._args, []) if self._args else []
        if not isinstance(extra, list):
            raise BadArguments(f'"{self._args}": expected list, got {_json_name(extra)}')
        args = []
        for parameter in self._positional:
            if parameter.name in arguments:
                args.append(arguments.pop(parameter.name))
            else:
                args.append(parameter.default)
        return args + extra, arguments


def _converted(parameter: Parameter, value: object) -> object:
    """A value from JSON as the parameter wants it."""
    wanted = parameter.annotation
    if value is None and parameter.nullable:
        return value
    if wanted == "float" and type(value) is int:
        return float(value)
    if wanted == "bytes" and isinstance(value, str):
        try:
            return _decode_base64(value)
        except ValueError:  # binascii.Error is one
            raise BadArguments(f'"{parameter.name}": this is not valid base64') from None
    told = "bytes as base64" if wanted == "bytes" else wanted
    raise BadArguments(f'"{parameter.name}": expected {told}, got {_json_name(value)}')


def _decode_base64(text: str) -> bytes:
    if sys.version_info >= (3, 11):
        from binascii import a2b_base64

        return a2b_base64(text, strict_mode=True)
    from base64 import b64decode

    return b64decode(text, validate=True)


def _json_name(value: object) -> str:
    return "null" if value is None else type(value).__name__
