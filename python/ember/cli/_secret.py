"""``ember secret``: makes, lists, shows and deletes secrets. Values go in and never come out."""

from __future__ import annotations

import sys

from ember._client import quote, shared

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = "/api/v1/secrets"


def create_secret(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember secret create``."""
    parser = Parser(prog, summary)
    parser.add_argument("name")
    parser.add_argument(
        "values",
        nargs="*",
        metavar="KEY=VALUE",
        help="KEY=- asks for the value, which then stands in no history of commands",
    )
    parser.add_argument("--from-dotenv", metavar="FILE", help="the values of a .env file")
    parser.add_argument(
        "--from-stdin", metavar="KEY", help="the value of this key is what stdin has, to its end"
    )
    parser.add_json()
    options = parser.parse_args(argv)
    values = _values_of(options)
    secret = shared().post_json(_PATH, {"name": options.name, "values": values})
    if options.json:
        _terminal.document(secret)
        return _exit.OK
    _terminal.say(f"{secret['name']} version {secret['version']}: {', '.join(secret['keys'])}")
    if secret["used_by"]:
        _terminal.say(f"new containers of {', '.join(secret['used_by'])} get it")
    else:
        _terminal.say(f'next: @app.function(secrets=[ember.Secret.from_name("{secret["name"]}")])')
    return _exit.OK


def _values_of(options: Any) -> dict[str, str]:
    """Return the values of all the ways in which they may be given; later ones hold."""
    from ember._secret import check_values, read_dotenv

    values: dict[str, str] = {}
    if options.from_dotenv:
        values.update(read_dotenv(options.from_dotenv))
    for place, word in enumerate(options.values, 1):
        key, equals, value = word.partition("=")
        if not equals:
            # Nothing of it is shown: it may be a value.
            raise usage_error(
                f"value {place} is not of the form KEY=VALUE",
                next_step=f"ember secret create {options.name} KEY=-  (asks for the value)",
            )
        values.update(check_values({key: value}, "secret"))
        if value == "-":
            values[key] = _ask(key)
    if options.from_stdin:
        text = sys.stdin.read()
        text = text.removesuffix("\n").removesuffix("\r")
        values.update(check_values({options.from_stdin: text}, "secret"))
    if not values:
        raise usage_error(
            "there are no values", next_step=f"ember secret create {options.name} KEY=-"
        )
    return check_values(values, "secret")


def _ask(key: str) -> str:
    """Return what somebody types at the terminal, unseen."""
    if not sys.stdin.isatty():
        raise usage_error(
            f"{key}=- asks for a value, and there is no terminal to ask at",
            next_step=f"... | ember secret create NAME --from-stdin {key}",
        )
    from getpass import getpass

    return getpass(f"{key}: ")


def list_secrets(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember secret list``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "--all", action="store_true", help="those without a name too, of apps that bring values"
    )
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(_PATH)
    if not options.all:
        document["secrets"] = [one for one in document["secrets"] if one["name"]]
    if options.json:
        _terminal.document(document)
        return _exit.OK
    rows = [
        {
            "secret": secret["name"] or secret["secret_id"],
            "version": secret["version"],
            "keys": ", ".join(secret["keys"]) if secret["opens"] else "(does not open)",
            "created": _terminal.ago(secret["created_ms"]),
            "used_by": ", ".join(secret["used_by"]),
        }
        for secret in document["secrets"]
    ]
    columns = ["secret", "version", "keys", "created", "used_by"]
    empty = "no secrets yet; ember secret create NAME KEY=-"
    _terminal.table(rows, columns, right=["version"], cut_column="keys", empty=empty)
    return _exit.OK


def show_secret(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember secret show``."""
    parser = Parser(prog, summary)
    parser.add_argument("secret", help="its name or id")
    parser.add_json()
    options = parser.parse_args(argv)
    secret = shared().get_json(f"{_PATH}/{quote(options.secret)}")
    if options.json:
        _terminal.document(secret)
        return _exit.OK
    rows = [
        {
            "version": version["version"],
            "keys": ", ".join(version["keys"]),
            "created": _terminal.ago(version["created_ms"]),
        }
        for version in secret["versions"]
    ]
    _terminal.table(rows, ["version", "keys", "created"], right=["version"], cut_column="keys")
    _terminal.say(f"used by {', '.join(secret['used_by']) or 'no function'}")
    return _exit.OK


def delete_secret(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember secret delete``."""
    parser = Parser(prog, summary)
    parser.add_argument("secret", help="its name or id")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also if functions use it: their new containers then fail to start",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    secret = shared().delete_json(
        f"{_PATH}/{quote(options.secret)}", force=True if options.force else None
    )
    if options.json:
        _terminal.document(secret)
        return _exit.OK
    _terminal.say(f"{secret['name'] or secret['secret_id']} is deleted with all its versions")
    return _exit.OK
