"""``ember shell``: a shell in a running container, or in a fresh one that is there for it alone."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ember import _client, _deploy, _source
from ember._image import Image
from ember._settings import Settings
from ember._volume import Volume
from ember.exception import NotFoundError

from . import _remote, _terminal
from ._app import RUN_DIGITS, SHELL_MARK
from ._exit import usage_error
from ._parser import Parser, close_names
from ._progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


_MAX_NAME = 63
_SHELL_MODULE, _SHELL_FUNCTION = "ember.runner._shell", "container_id"
_CONTAINER_MARK = "ct-"
# The better shell of the two; bash reads its own files first, which may set another prompt.
_FIND_SHELL = (
    "if command -v bash >/dev/null 2>&1; then PS1='\\u@\\h:\\w\\$ '; export PS1; exec bash; fi; "
    "PS1='$PWD # '; export PS1; exec sh"
)


def shell(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember shell``."""
    parser = Parser(prog, summary)
    parser.usage = f"{prog} [TARGET] [--image NAME] [--volume NAME]... [--cmd COMMAND]"
    parser.add_argument(
        "target",
        nargs="?",
        help="APP.FUNCTION, a container's id, or FILE.py::NAME of a function or an image; left "
        "out: the image alone",
    )
    parser.add_argument(
        "--image",
        metavar="NAME",
        help="host, debian_slim, or what a registry calls it, such as alpine:3.20",
    )
    parser.add_argument(
        "--volume",
        metavar="NAME",
        action="append",
        default=[],
        help="with --image, or alone: a volume, at /mnt/NAME",
    )
    parser.add_argument("--cmd", metavar="COMMAND", help="run this, by sh, in the place of a shell")
    options = parser.parse_args(argv)
    if options.volume and options.target is None and options.image is None:
        options.image = "host"
    if (options.target is None) == (options.image is None) or (options.target and options.volume):
        raise usage_error(
            "a shell where?"
            if options.target is None
            else "a target has its own image and volumes: name it, or --image and --volume",
            next_step=f"{prog} APP.FUNCTION, {prog} CONTAINER or {prog} --image debian_slim",
        )
    command = ["/bin/sh", "-c", options.cmd or _FIND_SHELL]
    with (
        _terminate_as_interrupt(),
        _place(options.target, options.image, options.volume) as container,
    ):
        return _remote.run(container, command, with_terminal=_remote.is_interactive())


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """A container that was started for this is ended also where this process is told to end."""
    import signal

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _place(target: str | None, image: str | None, volumes: list[str]) -> Iterator[str]:
    """The container to go to, which lives as long as the block if it is made for this."""
    if image is not None:
        mounts = {f"/mnt/{name}": Volume.from_name(name) for name in volumes}
        settings = Settings(volumes=mounts).spec() if mounts else {}
        with _deployed("image", "shell", _named(image), settings, _own_source()) as container:
            yield container
    elif target is not None and target.startswith(_CONTAINER_MARK):
        yield target
    elif target is not None and (target.endswith(".py") or ".py::" in target):
        with _of_file(target) as container:
            yield container
    else:
        word = target or ""
        app, _, function = word.partition("/" if "/" in word else ".")
        if not function:
            raise usage_error(
                f"{target} is no function, container or file",
                next_step="ember function list, or ember container list",
            )
        with _of_function(app, function) as container:
            yield container


@contextmanager
def _of_function(app: str, function: str) -> Iterator[str]:
    path = f"{_client.app_path(app, 'shell')}?function={_client.quote(function)}"
    try:
        made = _client.shared().post_json(path)
    except NotFoundError as error:
        raise usage_error(str(error), next_step="ember function list") from error
    with _container_of(made["app"], function) as container:
        yield container


@contextmanager
def _of_file(target: str) -> Iterator[str]:
    from ember._cls import Cls
    from ember._function import Function
    from ember._load import find_app

    from ._script import load_module

    path, _, name = target.partition("::")
    module = load_module(path)
    names = {k: v for k, v in vars(module).items() if isinstance(v, (Function, Cls, Image))}
    if not name:
        functions = find_app(module).functions
        if len(functions) != 1:
            raise usage_error(
                f"a shell for which of {path}?",
                evidence=f"there are: {', '.join(names)}",
                next_step=f"ember shell {path}::NAME",
            )
        name, found = next(iter(functions.items()))
    elif name in names:
        found = names[name]
    else:
        raise usage_error(
            f"{path} has no function or image {name!r}",
            evidence=close_names(name, names) or f"there are: {', '.join(names)}",
            next_step=f"ember shell {path}::NAME",
        )
    source = _source.collect([module.__name__])
    if isinstance(found, Image):
        with _deployed(name, "shell", found, {}, source) as container:
            yield container
        return
    for volume in found.settings.volumes:
        volume.ensure(_client.shared())
    app = find_app(module)
    image = found.settings.image or app.image or Image.host()
    secrets = [secret.spec() for secret in found.settings.secrets]
    settings = {**found.settings.spec(), "secrets": secrets}
    with _deployed(app.name, found.name, image, settings, source) as container:
        yield container


def _named(text: str) -> Image:
    if text == "host":
        return Image.host()
    if text == "debian_slim":
        return Image.debian_slim()
    return Image.from_registry(text)


def _own_source() -> _source.Source:
    """A source there must be: the file that is run in any case."""
    from ember import runner

    directory = os.path.dirname(os.path.abspath(runner.__file__))
    source = _source.Source(directory)
    source.files["shell.py"] = os.path.join(directory, "_shell.py")
    return source


@contextmanager
def _deployed(
    app: str, function: str, image: Image, settings: dict[str, Any], source: _source.Source
) -> Iterator[str]:
    client, tell = _client.shared(), Progress()
    spec = {
        **settings,
        "name": function,
        "module": _SHELL_MODULE,
        "qualname": _SHELL_FUNCTION,
        "min_containers": 1,
        "max_containers": 1,
        "buffer_containers": 0,
        "image": _deploy.built(image, client, tell),
    }
    digest = _source.upload(source, client, lambda count: tell("upload", f"{count} new files"))
    tell.finish()
    suffix = SHELL_MARK + os.urandom(RUN_DIGITS // 2).hex()
    name = app[: _MAX_NAME - len(suffix)] + suffix
    body = {"ephemeral": True, "source": digest, "functions": [spec]}
    client.post_json(_client.app_path(name, "deploy"), body)
    with _container_of(name, function) as container:
        yield container


@contextmanager
def _container_of(app: str, function: str) -> Iterator[str]:
    """The one container of an ephemeral app, which ends with the block."""
    with _deploy.kept_alive(app):
        _terminal.say(_terminal.style(f"starting a container of {app}.{function}", "dim"))
        reply = _client.shared().call(app, function, b"{}", _client.JSON)
        from ember import _json

        yield _json.loads(reply.body)
