"""Images: what a container's file system is made of, declared as a chain of steps."""

from __future__ import annotations

from ember.exception import InvalidArgumentError


class Image:
    """An immutable recipe: each method returns a new image. Nothing is built before a deploy."""

    __slots__ = ("_base", "_steps")

    def __init__(self, base: str, steps: tuple[tuple[str, tuple[str, ...]], ...] = ()) -> None:
        self._base = base
        self._steps = steps

    @staticmethod
    def host() -> Image:
        """The machine's own /usr, read-only, with its /usr/bin/python3."""
        return Image("host")

    def uv_pip_install(self, *packages: str) -> Image:
        """Adds a layer with Python packages of the index, named as for pip ("numpy>=2", no URL)."""
        if not packages:
            raise InvalidArgumentError("uv_pip_install: name at least one package")
        for package in packages:
            if not isinstance(package, str) or not package.strip() or package.startswith("-"):
                raise InvalidArgumentError(f"uv_pip_install: {package!r} is not a package")
        return Image(self._base, (*self._steps, ("uv_pip_install", packages)))

    def spec(self) -> dict[str, object]:
        """The JSON form of docs/reference/http.md."""
        steps = [{"kind": kind, "arguments": list(arguments)} for kind, arguments in self._steps]
        return {"base": self._base, "steps": steps}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.spec() == other.spec()

    def __hash__(self) -> int:
        return hash((self._base, self._steps))

    def __repr__(self) -> str:
        steps = "".join(f".{kind}({', '.join(map(repr, names))})" for kind, names in self._steps)
        return f"Image.{self._base}(){steps}"
