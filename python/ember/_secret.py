"""Secrets: values that containers get and that nothing shows."""

from __future__ import annotations

import os

from ember import _context
from ember._settings import check_name
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

_DIRECTORY = "/run/secrets/"
_MAX_VALUE_BYTES = 32 << 10
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Secret:
    """KEY=value pairs for `@app.function(secrets=[...])`. Made by one of its `from_` functions.

    They are variables of the environment there; with `mount="/run/secrets/NAME"` they are files
    of that directory instead, one a key, in memory alone.
    """

    def __init__(
        self,
        name: str | None,
        values: dict[str, str],
        required_keys: Sequence[str] = (),
        mount: str | None = None,
    ) -> None:
        self.name = name  # None: the values come along with a deploy
        self.required_keys = list(required_keys)
        self.mount = _check_mount(mount)
        self._values = values

    @staticmethod
    def from_name(
        name: str, *, required_keys: Sequence[str] = (), mount: str | None = None
    ) -> Secret:
        """A secret of the server, as `ember secret create` makes it; its newest version.

        A deploy is refused where it isn't there, or lacks one of the required keys.
        """
        if isinstance(required_keys, str) or not isinstance(required_keys, (list, tuple)):
            raise InvalidArgumentError(
                f"required_keys: expected a list of str, got {type(required_keys).__name__}"
            )
        keys = [check_key(key, "required_keys") for key in required_keys]
        return Secret(check_name("secret", name), {}, keys, mount)

    @staticmethod
    def from_dict(values: Mapping[str, str], *, mount: str | None = None) -> Secret:
        """A secret without a name, sealed with the version that is deployed."""
        if not hasattr(values, "items"):
            raise InvalidArgumentError(
                f"Secret.from_dict: expected a dict of str, got {type(values).__name__}"
            )
        if not values:
            raise InvalidArgumentError("Secret.from_dict: it has no keys; give at least one")
        return Secret(None, check_values(values), mount=mount)

    @staticmethod
    def from_dotenv(
        path: str | os.PathLike[str] | None = None, *, mount: str | None = None
    ) -> Secret:
        """The values of a .env file: that one, or the one in a directory.

        By default that of the working directory, or of the nearest one above that has one.
        """
        if _context.in_container:
            return Secret(None, {}, mount=mount)  # the file is where the deploy was made
        return Secret(None, read_dotenv(_find_dotenv(path)), mount=mount)

    @staticmethod
    def from_local_environ(names: Sequence[str], *, mount: str | None = None) -> Secret:
        """Variables of this process's own environment, as they are now."""
        if isinstance(names, str) or not isinstance(names, (list, tuple)) or not names:
            raise InvalidArgumentError("Secret.from_local_environ: expected a list of names")
        if _context.in_container:
            return Secret(None, {}, mount=mount)  # they are where the deploy was made
        missing = [str(name) for name in names if name not in os.environ]
        if missing:
            raise InvalidArgumentError(
                f"Secret.from_local_environ: not set here: {', '.join(missing)}"
            )
        return Secret(None, check_values({name: os.environ[name] for name in names}), mount=mount)

    @property
    def keys(self) -> list[str]:
        """The names of the values that it brings; none of a secret of the server."""
        return list(self._values)

    def spec(self) -> dict[str, Any]:
        """What a deploy says of it. Has the values: for the server alone."""
        spec: dict[str, Any] = {"name": self.name} if self.name else {"values": dict(self._values)}
        if self.required_keys:
            spec["required_keys"] = self.required_keys
        if self.mount:
            spec["mount"] = self.mount
        return spec

    def __repr__(self) -> str:
        return f"<ember.Secret {self.name or 'of ' + ', '.join(self._values)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} can't be pickled: give it to a function with secrets=[...]")


def check_secrets(secrets: object) -> list[Secret]:
    """The `secrets` of a function."""
    if not isinstance(secrets, (list, tuple)):
        raise InvalidArgumentError(
            f"secrets: expected a list of ember.Secret, got {type(secrets).__name__}"
        )
    for secret in secrets:
        if not isinstance(secret, Secret):
            hint = "; Secret.from_name(...) names one" if isinstance(secret, str) else ""
            raise InvalidArgumentError(
                f"secrets: expected ember.Secret, got {type(secret).__name__}{hint}"
            )
    return list(secrets)


def check_key(key: object, where: str) -> str:
    """A name for an environment variable. Says nothing of what else it may be: a value, say."""
    if not isinstance(key, str):
        raise InvalidArgumentError(f"{where}: a key must be str, not {type(key).__name__}")
    if not key or key[0] in "0123456789" or not set(key) <= _KEY_CHARACTERS:
        raise InvalidArgumentError(
            f"{where}: a key must be of letters, digits and '_', and not begin with a digit"
        )
    if key.startswith("EMBER_"):
        raise InvalidArgumentError(f"{where}: {key}: names with EMBER_ are Ember's own")
    return key


def check_values(values: Mapping[str, str], where: str = "secret") -> dict[str, str]:
    """Keys and values that the server takes; messages name keys alone."""
    checked: dict[str, str] = {}
    for key, value in values.items():
        key = check_key(key, where)
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{where}: {key} must be str, not {type(value).__name__}")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{where}: {key} is no text in UTF-8") from None
        if size > _MAX_VALUE_BYTES or "\0" in value:
            raise InvalidArgumentError(
                f"{where}: {key} must be a text of at most 32 KiB without a zero byte"
            )
        checked[key] = value
    return checked


def read_dotenv(path: str) -> dict[str, str]:
    """The pairs of a .env file: `KEY=value`, `export KEY='value'`, `# comment`.

    In double quotes \\n, \\t, \\" and \\\\ stand for what they do elsewhere; quotes may go over
    several lines. Nothing is expanded.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise InvalidArgumentError(f"{path} can't be read: {why}") from None
    values: dict[str, str] = {}
    at = 0
    while at < len(lines):
        first = at
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.removeprefix("export ").partition("=")
        where = f"{path}:{first + 1}"
        if not equals:
            raise InvalidArgumentError(f"{where}: expected KEY=value")
        key, value = key.strip(), value.strip()
        if value[:1] in ("'", '"'):
            quote = value[0]
            end = _end_of_quote(value)
            while end < 0:
                if at == len(lines):
                    raise InvalidArgumentError(f"{where}: the quote isn't closed")
                value += "\n" + lines[at]
                at += 1
                end = _end_of_quote(value)
            value = value[1:end] if quote == "'" else _unescaped(value[1:end])
        else:
            value = value.partition(" #")[0].rstrip()
        values.update(check_values({key: value}, where))
    if not values:
        raise InvalidArgumentError(f"{path} has no KEY=value in it")
    return values


def _end_of_quote(value: str) -> int:
    quote, at = value[0], 1
    while at < len(value):
        if value[at] == quote:
            return at
        at += 2 if quote == '"' and value[at] == "\\" else 1
    return -1


def _unescaped(text: str) -> str:
    known = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in known:
            out.append(known[text[at + 1]])
            at += 2
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _find_dotenv(path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        found = os.fspath(path)
        return os.path.join(found, ".env") if os.path.isdir(found) else found
    directory = os.getcwd()
    while not os.path.isfile(os.path.join(directory, ".env")):
        above = os.path.dirname(directory)
        if above == directory:
            raise InvalidArgumentError(
                "Secret.from_dotenv: no .env here or above; give its path, or make one"
            )
        directory = above
    return os.path.join(directory, ".env")


def _check_mount(mount: object) -> str | None:
    if mount is None:
        return None
    rest = mount[len(_DIRECTORY) :] if isinstance(mount, str) else ""
    allowed = _KEY_CHARACTERS | frozenset("-.")
    parts = rest.split("/")
    right = all(part and part[0] != "." and set(part) <= allowed for part in parts)
    if not isinstance(mount, str) or not mount.startswith(_DIRECTORY) or not right:
        raise InvalidArgumentError(
            f"mount: expected a directory in {_DIRECTORY} such as {_DIRECTORY}db, got {mount!r}"
        )
    return mount
