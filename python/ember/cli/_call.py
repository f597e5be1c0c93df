"""``ember call APP.FUNCTION``: one call of a deployed function, by HTTP and JSON."""

from __future__ import annotations

from contextlib import contextmanager

from ember._client import JSON, shared, variants_path
from ember.exception import (
    EmberError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

from . import _exit, _terminal
from ._app import get_app
from ._arguments import PARAM_HELP, Parameter, bind, class_values, take_params, usage
from ._exit import usage_error
from ._parser import Parser, close_names
from ._waiting import CallWatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from ember._client import Reply

_FLAGS = ("--json", "--no-prices", "--spawn")


def call(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember call``."""
    own, words = _split(argv)
    parser = Parser(prog, f"{summary}; --name VALUE or values in place are its arguments")
    parser.usage = f"{prog} APP.FUNCTION [ARGUMENTS] [options], or APP.CLASS.METHOD"
    parser.add_argument("--param", metavar="NAME=VALUE", action="append", help=PARAM_HELP)
    parser.add_argument("--json-args", metavar="OBJECT", help="all arguments, as a JSON object")
    parser.add_argument(
        "--no-prices", action="store_true", help="leave out what the call would cost elsewhere"
    )
    parser.add_argument(
        "--spawn", action="store_true", help="do not wait: print the call's id once it is accepted"
    )
    parser.add_json()
    options = parser.parse_args(own)
    if not words:
        raise usage_error("which function? name it as APP.FUNCTION", next_step="ember app list")
    first_params, words = take_params(words) if words[0].startswith("--param") else ([], words)
    app, function = _target(words.pop(0) if words else "")
    params, words = take_params(words) if "." in function else ([], words)
    params = first_params + params
    body = _body(app, function, words, options.json_args)
    variant = _variant(app, function, params) if params else None
    if options.spawn:
        return _spawn(app, function, body, variant, as_json=options.json)
    with _told_failures(app, function), CallWatched() as watched:
        reply = shared().call_either(app, function, body, JSON, variant, watched)
        if reply.items is not None:
            print_items(reply.items, as_json=options.json)
    call_id = reply.headers["ember-call-id"]
    if reply.items is not None and options.json:
        return _exit.OK
    if reply.items is None and options.json:
        _print_document(reply, call_id)
        return _exit.OK
    if reply.items is None:
        _terminal.data(result_text(reply.body))
        _terminal.flush()
    from . import _report

    _report.report([call_id], with_prices=not options.no_prices)
    return _exit.OK


def _spawn(app: str, function: str, body: bytes, variant: str | None, *, as_json: bool) -> int:
    try:
        answer = shared().spawn(app, function, body, JSON, {"variant": variant})
    except NotFoundError as error:
        _find(app, function)
        raise error
    if as_json:
        _terminal.document(answer)
    else:
        _terminal.data(answer["call_id"])
        _terminal.say(f"next: ember call result {answer['call_id']} --wait")
    return _exit.OK


def _target(word: str) -> tuple[str, str]:
    """Part APP.FUNCTION; a slash between them helps names that have a dot."""
    app, _, function = word.partition("/" if "/" in word else ".")
    if not function:
        raise usage_error(
            f"{app!r} names no function",
            evidence=_functions_of(app),
            next_step=f"ember call {app}.FUNCTION",
        )
    return app, function


def _variant(app: str, function: str, params: list[str]) -> str | None:
    """Return the pool of a class with these parameters."""
    name = function.rpartition(".")[0]
    entry = _find(app, function)
    declared = [
        Parameter(p["name"], "keyword_only", p["annotation"], p["required"])
        for p in entry["class_parameters"]
    ]
    values = class_values(f"{app}.{name or function}", params, declared)
    plain = {name: _plain(value) for name, value in values.items()}
    answer = shared().post_json(variants_path(app, name), {"parameters": plain})
    return answer["variant"]


def print_items(items: Generator[bytes, None, None], *, as_json: bool) -> None:
    """Write each item of a generator as it comes, on a line of its own."""
    import json

    try:
        for item in items:
            _terminal.data(item_text(json.loads(item), as_json=as_json))
            _terminal.flush()
    finally:
        items.close()  # after Ctrl-C: hanging up is what cancels the call


def item_text(item: Any, *, as_json: bool = False) -> str:
    """Return an item as one line: a text as it is, where it is one, and all else as JSON."""
    import json

    if isinstance(item, str) and not as_json and item.isprintable():
        return item
    try:
        return json.dumps(item, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(item).replace("\n", " ")


@contextmanager
def _told_failures(app: str, function: str) -> Iterator[None]:
    """What user code raised ends the command with its own frames."""
    try:
        yield
    except NotFoundError as error:
        _find(app, function)  # says which of the two is not there, and what is
        raise error
    except InvalidArgumentError as error:
        raise usage_error(
            str(error),
            next_step=f"give {usage(f'{app}.{function}', _parameters(app, function))}"
            + _params_usage(_find(app, function)),
        ) from error
    except KeyboardInterrupt:
        _terminal.say(f"{app}.{function} cancelled")
        raise
    except EmberError as error:
        from . import _failure, _report

        call_id = error.call_id
        if call_id and not isinstance(error, (ResourceExhaustedError, UnavailableError)):
            _report.report_failed(lambda: [call_id])  # it ran, and is billed
        if _failure.is_user_s(error):
            raise _failure.failed(f"{app}.{function}", error) from error
        raise


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Part our own options from the function's name and arguments."""
    own: list[str] = []
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return own, [*words, word, *rest]
        if word in _FLAGS or word.startswith("--json-args="):
            own.append(word)
        elif word == "--json-args":
            own += [word, *rest[:1]]
            rest = rest[1:]
        elif word in ("-h", "--help") and not words:
            own.append(word)
        else:
            words.append(word)
    return own, words


def _body(app: str, function: str, words: list[str], json_args: str | None) -> bytes:
    import json

    if json_args is not None:
        if words:
            raise usage_error("--json-args already gives all arguments")
        return json_args.encode()
    if not words:
        return b"{}"  # if it needs some, the function says so itself
    parameters = _parameters(app, function)
    in_place, named = bind(f"{app}.{function}", words, parameters)
    names = [p.name for p in parameters if p.kind.startswith("positional")]
    arguments = {**dict(zip(names, in_place)), **named}
    if in_place[len(names) :]:
        rest = next(p.name for p in parameters if p.kind == "args")
        arguments[rest] = in_place[len(names) :]
    return json.dumps({name: _plain(value) for name, value in arguments.items()}).encode()


def _plain(value: Any) -> Any:
    """Return the value as JSON carries it: bytes in base64."""
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    return value


def _find(app: str, function: str) -> dict[str, Any]:
    """Return the server's entry of a function, or the error that names those with a close name."""
    document = get_app(app)
    if document.get("state") == "stopped":
        raise usage_error(f"app {app!r} is stopped", next_step="ember deploy FILE.py")
    found = [entry for entry in document["functions"] if entry["name"] == function]
    name, _, method = function.rpartition(".")
    for entry in document["functions"] if not found else ():
        if entry["name"] == name:  # a class, its entry with the parameters of the method
            found = [{**entry, **one} for one in entry["methods"] if one["name"] == method]
    if found and found[0].get("methods") and found[0]["name"] == function:
        raise usage_error(
            f"{app}.{function} is a class",
            evidence=f"it has: {', '.join(one['name'] for one in found[0]['methods'])}",
            next_step=f"ember call {app}.{function}.METHOD",
        )
    if not found:
        raise usage_error(
            f"app {app!r} has no function {function!r}",
            evidence=_functions_of(app, function),
            next_step="ember function list",
        )
    return found[0]


def _parameters(app: str, function: str) -> list[Parameter]:
    return [
        Parameter(entry["name"], entry["kind"], entry["annotation"], entry["required"])
        for entry in _find(app, function)["parameters"]
    ]


def _functions_of(app: str, word: str = "") -> str:
    names = [name for entry in get_app(app)["functions"] for name in callable_names(entry)]
    return close_names(word, names) or f"it has: {', '.join(names)}"


def callable_names(entry: dict[str, Any]) -> list[str]:
    """Return what a function's entry can be called by: of a class its methods."""
    methods = [f"{entry['name']}.{method['name']}" for method in entry.get("methods", ())]
    return methods or [entry["name"]]


def _params_usage(entry: dict[str, Any]) -> str:
    """Return how to give the parameters of a class that have to be given."""
    required = [p for p in entry.get("class_parameters", ()) if p["required"]]
    return "".join(f" --param {p['name']}={p['annotation'].upper()}" for p in required)


def result_text(body: bytes) -> str:
    """Return a JSON result on one line where it fits, else indented."""
    import json

    value = json.loads(body)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else json.dumps(value, ensure_ascii=False, indent=2)


def _print_document(reply: Reply, call_id: str) -> None:
    import json

    from . import _report

    _terminal.document(
        {
            "call_id": call_id,
            "result": json.loads(reply.body),
            "cold": reply.headers.get("ember-cold") == "true",
            "container_id": reply.headers.get("ember-container-id"),
            "phases_ms": phases_ms(reply.headers.get("server-timing", "")),
            "cost": _report.cost_of(call_id),
        }
    )


def phases_ms(server_timing: str) -> dict[str, float]:
    """Return the phases that a Server-Timing header names."""
    phases = {}
    for part in server_timing.split(","):
        name, _, duration = part.strip().partition(";dur=")
        if duration:
            phases[name] = float(duration)
    return phases
