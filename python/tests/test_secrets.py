"""Secrets as a user declares them, and as the command line makes them."""

from __future__ import annotations

import io
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from fake_server import FakeServer, document

import ember
from ember import _client, _context
from ember._deploy import deploy
from ember._secret import read_dotenv
from ember.cli import main
from ember.exception import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fake_server import Answer, Asked

CANARY = "sk-canary-5b1e0a"
SECRET: dict[str, Any] = {
    "secret_id": "se-1", "name": "db", "workspace": "default", "version": 2, "keys": ["PASSWORD"],
    "created_ms": 1, "used_by": ["docs.page"], "opens": True,
}  # fmt: skip


def refused(match: str) -> Any:
    return pytest.raises(InvalidArgumentError, match=match)


# --- declaring ---


def test_a_secret_of_the_server_is_a_reference() -> None:
    secret = ember.Secret.from_name("db", required_keys=["PASSWORD"], mount="/run/secrets/db")
    assert secret.spec() == {
        "name": "db", "required_keys": ["PASSWORD"], "mount": "/run/secrets/db",
    }  # fmt: skip
    assert ember.Secret.from_name("db").spec() == {"name": "db"}
    assert repr(secret) == "<ember.Secret db>"


def test_values_go_with_the_deploy_and_nowhere_else() -> None:
    secret = ember.Secret.from_dict({"TOKEN": CANARY})
    assert secret.spec() == {"values": {"TOKEN": CANARY}}
    assert repr(secret) == "<ember.Secret of TOKEN>"
    with pytest.raises(TypeError, match="secrets=") as failure:
        pickle.dumps(secret)
    assert CANARY not in str(failure.value)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ember.Secret.from_dict({"A": 5}), "A must be str, not int"),  # pyright: ignore
        (lambda: ember.Secret.from_dict([]), "expected a dict"),  # pyright: ignore
        (lambda: ember.Secret.from_dict({}), "no keys"),
        (lambda: ember.Secret.from_dict({CANARY: CANARY}), "letters, digits"),
        (lambda: ember.Secret.from_dict({"EMBER_A": CANARY}), "Ember's own"),
        (lambda: ember.Secret.from_dict({"A": CANARY + "\0"}), "A must be a text"),
        (lambda: ember.Secret.from_dict({"A": CANARY + "\ud800"}), "A is no text in UTF-8"),
        (lambda: ember.Secret.from_dict({"A": CANARY * 4000}), "32 KiB"),
        (lambda: ember.Secret.from_name("a b"), "secret name"),
        (lambda: ember.Secret.from_name("db", required_keys="A"), "expected a list"),
        (lambda: ember.Secret.from_name("db", required_keys=["A B"]), "required_keys"),
        (lambda: ember.Secret.from_name("db", mount="/tmp/db"), "/run/secrets/db"),
        (lambda: ember.Secret.from_name("db", mount="/run/secrets/../db"), "mount"),
        (lambda: ember.Secret.from_local_environ(["NOT_SET_1", "NOT_SET_2"]), "NOT_SET_1, NOT_S"),
        (lambda: ember.Secret.from_local_environ("A"), "list of names"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(make: Any, match: str) -> None:
    with refused(match) as failure:
        make()
    assert CANARY not in str(failure.value)


def test_secrets_of_a_function_are_a_list_of_them() -> None:
    app = ember.App("sums")
    with refused("Secret.from_name"):
        app.function(secrets=["db"])  # pyright: ignore[reportArgumentType]
    with refused("expected a list"):
        app.function(secrets=ember.Secret.from_name("db"))  # pyright: ignore[reportArgumentType]


def test_variables_of_this_process_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    assert ember.Secret.from_local_environ(["TOKEN"]).spec() == {"values": {"TOKEN": CANARY}}


def test_in_a_container_the_places_of_values_are_not_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_context, "in_container", True)
    monkeypatch.chdir(tmp_path)
    assert ember.Secret.from_dotenv().keys == []
    assert ember.Secret.from_local_environ(["NOT_SET"]).keys == []


# --- .env files ---

DOTENV = """
# a comment
PLAIN=a b # of the line
export EXPORTED = x
SINGLE='a # $b \\n'
DOUBLE="a\\tb \\"c\\" \\\\ # d" # after
LINES="one
two"
EMPTY=
HASH=a#b
"""


def test_a_dotenv_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    values = {
        "PLAIN": "a b", "EXPORTED": "x", "SINGLE": "a # $b \\n", "DOUBLE": 'a\tb "c" \\ # d',
        "LINES": "one\ntwo", "EMPTY": "", "HASH": "a#b",
    }  # fmt: skip
    assert read_dotenv(str(tmp_path / ".env")) == values
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert ember.Secret.from_dotenv().spec() == {"values": values}
    assert ember.Secret.from_dotenv(tmp_path).keys == list(values)
    assert ember.Secret.from_dotenv(tmp_path / ".env").keys == list(values)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (CANARY, ":1: expected KEY=value"),
        (f"A=1\nB='{CANARY}", ":2: the quote isn't closed"),
        (f"1A={CANARY}", ":1: a key must"),
        ("# nothing\n", "has no KEY=value"),
    ],
)
def test_a_dotenv_file_that_is_wrong_names_the_line_alone(
    tmp_path: Path, text: str, match: str
) -> None:
    (tmp_path / ".env").write_text(text)
    with refused(match) as failure:
        ember.Secret.from_dotenv(tmp_path)
    assert CANARY not in str(failure.value)


def test_a_dotenv_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with refused("can't be read: No such file"):
        ember.Secret.from_dotenv(tmp_path / "none")


# --- against a server ---


class World:
    """What the server has been asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.refuse = False

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        path = asked.path.partition("?")[0]
        if self.refuse:
            return document({"error": {"code": "conflict", "message": "it is used"}}, 409)
        if path == "/api/v1/images":
            return 200, {}, b'{"image_id": "im-1", "ready": true}\n'
        if path == "/api/v1/sources":
            return document({"digest": "src-1", "missing": []})
        if path.endswith("/deploy"):
            made = {
                "app": "sums",
                "app_id": "ap-1",
                "version": 1,
                "serving": 1,
                "url": "u",
                "functions": [],
            }
            return document(made)
        if path == "/api/v1/secrets" and asked.method == "GET":
            return document({"secrets": [SECRET, {**SECRET, "secret_id": "se-2", "name": None}]})
        if path == "/api/v1/secrets/db" and asked.method == "GET":
            versions = [{"version": n, "created_ms": 1, "keys": ["PASSWORD"]} for n in (2, 1)]
            return document({**SECRET, "versions": versions})
        return document(SECRET)

    @property
    def values(self) -> dict[str, str]:
        (asked,) = (asked for asked in self.asked if asked.method == "POST")
        assert asked.path == "/api/v1/secrets"
        return asked.json["values"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    server = FakeServer(world.answer)
    monkeypatch.setenv("EMBER_URL", server.url)
    monkeypatch.setenv("EMBER_KEY", "key")
    monkeypatch.setattr(_client, "_shared", None)
    yield world
    server.close()


def double(n: int) -> int:
    return 2 * n


def test_a_deploy_says_which_secrets_a_function_has(world: World) -> None:
    app = ember.App("sums")
    secrets = [ember.Secret.from_name("db"), ember.Secret.from_dict({"TOKEN": CANARY})]
    function = app.function(secrets=secrets)(double)
    assert CANARY not in json.dumps(function.spec())  # what others may look at
    deploy(app)
    (asked,) = (asked for asked in world.asked if asked.path.endswith("/deploy"))
    (sent,) = asked.json["functions"]
    assert sent["secrets"] == [{"name": "db"}, {"values": {"TOKEN": CANARY}}]


def test_create_takes_values_in_each_way_it_names(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "env").write_text("A=file\nB=file\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines\n"))
    command = ["secret", "create", "db", "B=word", "C=a=b", "--from-dotenv", str(tmp_path / "env")]
    assert main([*command, "--from-stdin", "D"]) == 0
    assert world.values == {"A": "file", "B": "word", "C": "a=b", "D": "two\nlines"}
    told = capsys.readouterr()
    assert told.out == ""
    assert "db version 2: PASSWORD" in told.err and "docs.page" in told.err


def test_create_asks_for_values_at_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"typed for {prompt}")
    assert main(["secret", "create", "db", "PASSWORD=-"]) == 0
    assert world.values == {"PASSWORD": "typed for PASSWORD: "}


@pytest.mark.parametrize(
    ("words", "next_step"),
    [
        ([CANARY], "KEY=-"),
        ([f"{CANARY}=x"], ""),
        (["A=-"], "--from-stdin A"),
        ([], "KEY=-"),
    ],
)
def test_create_refuses_what_is_none_and_shows_nothing_of_it(
    world: World, words: list[str], next_step: str, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["secret", "create", "db", *words]) == 2
    told = capsys.readouterr()
    assert CANARY not in told.out + told.err
    assert next_step in told.err
    assert world.asked == []


def test_lists_show_names_and_keys(world: World, capsys: Any) -> None:
    assert main(["secret", "list"]) == 0
    told = capsys.readouterr().out
    assert "PASSWORD" in told and "docs.page" in told and "se-2" not in told
    assert main(["secret", "list", "--all"]) == 0
    assert "se-2" in capsys.readouterr().out
    assert main(["secret", "list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["secrets"]] == ["db"]
    assert main(["secret", "show", "db"]) == 0
    assert capsys.readouterr().out.count("PASSWORD") == 2
    assert main(["secret", "show", "db", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["versions"]) == 2


def test_delete_forces_only_when_told(world: World, capsys: Any) -> None:
    assert main(["secret", "delete", "db"]) == 0
    assert main(["secret", "delete", "db", "--force"]) == 0
    assert [(a.method, a.path) for a in world.asked] == [
        ("DELETE", "/api/v1/secrets/db"),
        ("DELETE", "/api/v1/secrets/db?force=true"),
    ]
    world.refuse = True
    assert main(["secret", "delete", "db"]) == 2
    assert "it is used" in capsys.readouterr().err
