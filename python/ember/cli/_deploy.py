"""``ember deploy FILE``: makes the file's app the version that serves."""

from __future__ import annotations

from . import _exit, _terminal
from ._app import say_web_urls
from ._parser import Parser
from ._progress import Progress
from ._script import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember._app import App
    from ember._deploy import Deployment


def deploy(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember deploy``."""
    parser = Parser(prog, summary)
    parser.add_argument("file", help="a .py file with an ember.App")
    parser.add_argument("--name", help="deploy the app under another name")
    parser.add_rollout()
    parser.add_json()
    options = parser.parse_args(argv)
    _, app = load(options.file)
    if options.name:
        app.rename(options.name)
    from ember import _deploy

    progress = Progress()
    made = _deploy.deploy(
        app, strategy=options.strategy, wait=not options.detach, progress=progress
    )
    coming = "" if made.serving >= made.version else f" comes up; version {made.serving} serves"
    progress.finish(f"{made.app} version {made.version}{coming}")
    for function in made.functions:
        _terminal.tick(f"function {function['name']}{_gpu(app, function['name'])}")
    if options.json:
        _terminal.document(
            {
                "app": made.app,
                "app_id": made.app_id,
                "version": made.version,
                "serving": made.serving,
                "url": made.url,
                "functions": made.functions,
            }
        )
        return _exit.OK
    _terminal.data(made.url)
    say_web_urls(made.functions)
    _terminal.say(f"next: {_first_step(app, made)}")
    return _exit.OK


def _gpu(app: App, name: str) -> str:
    settings = app.functions[name].settings.spec()
    demand, vram = settings.get("gpu"), settings.get("vram_bytes")
    if not demand:
        return f" on any GPU with {_terminal.size(vram)}" if vram else ""
    share = f"{_terminal.size(vram)} of " if vram else ""
    return f" on {' or '.join(share + kind for kind in demand)}"


def _first_step(app: App, made: Deployment) -> str:
    """Return the command to try first: a request where the first thing takes those."""
    first = made.functions[0]
    called = next(iter(app.functions.values()))
    methods = getattr(called, "methods", {}).values()
    if first["web"] and all(method.web is not None for method in methods):
        endpoint = first["web"][0]
        key = "" if endpoint["unauthenticated"] else '-H "Authorization: Bearer $EMBER_KEY" '
        return f"curl {key}{endpoint['url']}"
    return f"ember call {_first_call(app)}"


def _first_call(app: App) -> str:
    from ember._cls import Cls

    from ._arguments import usage

    function = next(iter(app.functions.values()))
    if isinstance(function, Cls):
        plain = [item for item in function.methods.items() if item[1].web is None]
        name, method = plain[0]
        required = [p for p in method.parameters if p.required]
        params = [p for p in function.parameters.values() if p.init and not p.has_default]
        words = [usage(f"{app.name}.{function.name}.{name}", required)]
        return " ".join([*words, *(f"--param {p.name}={p.annotation.upper()}" for p in params)])
    assert function.raw is not None
    required = [p for p in function.parameters if p.required]
    return usage(f"{app.name}.{function.name}", required)
