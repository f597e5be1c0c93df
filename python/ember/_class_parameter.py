"""What instances of a class are made with: `size: str = ember.parameter(default="7b")`."""

from __future__ import annotations

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "bytes": bytes}
_MISSING = object()


class ClassParameter:
    """One declared parameter. On an object that has none yet it is no attribute."""

    def __init__(self, default: object, *, init: bool) -> None:
        self.name = ""
        self.annotation = ""
        self.has_default = default is not _MISSING
        self.default: Any = default if self.has_default else None
        self.init = init

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Only where the object has no value of its own."""
        if instance is None:
            return self
        raise AttributeError(f"{self.name} is not set yet: set it in a method with @ember.enter()")

    def settle(self, owner: type) -> None:
        """Checks its declaration."""
        what = f"{owner.__qualname__}.{self.name}"
        annotation = getattr(owner, "__annotations__", {}).get(self.name)
        name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        self.annotation = name.strip("'\"")
        if not self.init and self.annotation not in _TYPES:
            self.annotation = "any"  # nobody gives it from outside
            return
        if self.annotation not in _TYPES:
            told = f"not {name}" if name else f"as in {self.name}: str = ember.parameter()"
            raise InvalidArgumentError(
                f"{what}: annotate a parameter with str, int, bool or bytes, {told}"
            )
        if self.has_default and type(self.default) is not _TYPES[self.annotation]:
            raise InvalidArgumentError(
                f"{what}: its default is of type {type(self.default).__name__}, "
                f"not {self.annotation}"
            )

    def spec(self) -> dict[str, Any]:
        """What a deploy says of it."""
        spec: dict[str, Any] = {
            "name": self.name,
            "annotation": self.annotation,
            "required": not self.has_default,
        }
        if self.has_default:
            spec["default"] = to_json(self.default)
        return spec

    def value_of(self, given: dict[str, Any]) -> Any:
        """Its value in an instance with these, as JSON has them."""
        if self.name not in given:
            if not self.has_default:
                raise AttributeError(f"{self.name} is set in containers alone")
            return self.default
        value = given[self.name]
        if self.annotation == "bytes":
            from binascii import a2b_base64

            return a2b_base64(value)
        return value


def parameter(*, default: Any = _MISSING, init: bool = True) -> Any:
    """Declares a parameter of a class: `size: str = ember.parameter(default="7b")`.

    It may be str, int, bool or bytes, and is given by name: `Model(size="70b")`. Without a default
    it has to be given. With init=False it can't be: it is for what an `@ember.enter` method sets.
    """
    return ClassParameter(default, init=init)


def declared_parameters(raw: type) -> dict[str, ClassParameter]:
    """The parameters of a class and its bases, in the order in which they are declared."""
    found: dict[str, ClassParameter] = {}
    for owner in reversed(raw.__mro__):
        for name, value in vars(owner).items():
            if isinstance(value, ClassParameter):
                value.settle(owner)
                found[name] = value
            else:
                found.pop(name, None)
    return found


def check_values(
    what: str, parameters: dict[str, ClassParameter] | None, given: dict[str, Any]
) -> dict[str, Any]:
    """The values that are not as their defaults, as JSON has them.

    `parameters` is None where only the server knows them: it checks at the first call.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        parameter = None if parameters is None else parameters.get(name)
        if parameters is not None and (parameter is None or not parameter.init):
            raise InvalidArgumentError(f'{what}: unknown parameter "{name}"; {_takes(parameters)}')
        wanted = tuple(_TYPES.values()) if parameter is None else (_TYPES[parameter.annotation],)
        if type(value) not in wanted:
            expected = " or ".join(kind.__name__ for kind in wanted)
            raise InvalidArgumentError(
                f"{what}: {name}: expected {expected}, got {type(value).__name__}"
            )
        if parameter is None or not parameter.has_default or parameter.default != value:
            checked[name] = to_json(value)
    for name, parameter in (parameters or {}).items():
        if parameter.init and not parameter.has_default and name not in given:
            assert parameters is not None
            raise InvalidArgumentError(f'{what}: missing "{name}"; {_takes(parameters)}')
    return checked


def to_json(value: Any) -> Any:
    """A value as JSON has it: bytes in base 64."""
    if isinstance(value, bytes):
        from binascii import b2a_base64

        return b2a_base64(value, newline=False).decode("ascii")
    return value


def _takes(parameters: dict[str, ClassParameter]) -> str:
    names = [name for name, parameter in parameters.items() if parameter.init]
    return f"it takes {', '.join(names)}" if names else "it takes none"
