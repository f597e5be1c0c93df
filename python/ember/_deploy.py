"""Deploying an app: images first, then source, then the switch to the new version."""

from __future__ import annotations

from contextlib import contextmanager

from ember import _client, _rollout, _source
from ember._heartbeat import beating
from ember._image import Image
from ember.exception import EmberError, InvalidArgumentError, from_error_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ember._app import App
    from ember._client import Client
    from ember._cls import Cls
    from ember._function import Function
    from ember._image_files import Files, Upload
    from ember._source import Source

    # Told the stage ("image", "source", "upload", "deploy"), or what there is to say of the one
    # that runs ("image_line", "left_out", "rollout"), and a line about it.
    Progress = Callable[[str, str], None]


class Deployment:
    """What a deploy made: the app's version, its URLs, and the source that went along."""

    def __init__(self, answer: dict[str, Any], source: Source) -> None:
        self.app: str = answer["app"]
        self.app_id: str = answer["app_id"]
        self.version: int = answer["version"]
        self.serving: int = answer["serving"]  # an earlier one while that version comes up
        self.url: str = answer["url"]
        self.functions: list[dict[str, Any]] = answer["functions"]  # name, function_id, url, web
        self.source = source


def deploy(
    app: App,
    *,
    client: Client | None = None,
    ephemeral: bool = False,
    strategy: str = "rolling",
    wait: bool = True,
    progress: Progress | None = None,
) -> Deployment:
    """Makes the app as declared here its version that serves, and waits until it does."""
    if not app.functions:
        raise InvalidArgumentError(f"app {app.name} has no functions: add one with @app.function()")
    _rollout.check(strategy)
    client = client or _client.shared()
    tell = progress or _tell_nobody
    images = {id(image): image for image in _images(app)}
    specs = {key: image.spec(_uploader(client, tell)) for key, image in images.items()}
    functions = [
        {
            **function.spec(),
            "image": specs[id(_image_of(app, function))],
            "secrets": [secret.spec() for secret in function.settings.secrets],
        }
        for function in app.functions.values()
    ]
    source = _source.collect(sorted({spec["module"] for spec in functions}))
    for image in _distinct([spec["image"] for spec in functions]):
        build(image, client, tell)
    tell("source", source.summary())
    if source.left_out:
        tell("left_out", source.left_out_text())
    digest = _source.upload(
        source, client, lambda n: tell("upload", "1 new file" if n == 1 else f"{n} new files")
    )
    for function in app.functions.values():
        for volume in function.settings.volumes:
            volume.ensure(client)
    tell("deploy", app.name)
    body: dict[str, Any] = {"ephemeral": ephemeral, "source": digest, "functions": functions}
    body["strategy"] = strategy
    answer = client.post_json(_client.app_path(app.name, "deploy"), body)
    if wait:
        answer = _rollout.wait_until_served(answer, client, tell)
    return Deployment(answer, source)


def built(image: Image, client: Client, tell: Progress) -> dict[str, Any]:
    """The spec of an image that is built, its files uploaded."""
    spec = image.spec(_uploader(client, tell))
    build(spec, client, tell)
    return spec


def build(spec: dict[str, Any], client: Client, tell: Progress) -> str:
    """Builds an image, or finds it built; its id."""
    tell("image", describe(spec))
    end: dict[str, Any] = {}
    for document in client.stream_ndjson("/api/v1/images", method="POST", body=spec):
        if "line" in document:
            tell("image_line", document["line"])
        else:
            end = document
    if "error" in end:
        raise from_error_body(end["error"])
    if not end.get("ready"):
        raise EmberError("the build of the image ended without a result; try again")
    return end["image_id"]


@contextmanager
def run(
    app: App, *, client: Client | None = None, progress: Progress | None = None
) -> Iterator[Deployment]:
    """An ephemeral deployment that lives as long as the block, and no longer than its process."""
    client = client or _client.shared()
    deployment = deploy(app, client=client, ephemeral=True, progress=progress)
    with kept_alive(app.name, client):
        yield deployment


@contextmanager
def kept_alive(app: str, client: Client | None = None) -> Iterator[None]:
    """Keeps an ephemeral app alive for the length of the block, and then stops it."""
    client = client or _client.shared()
    try:
        with beating(lambda: client.post_json(_client.app_path(app, "heartbeat"))):
            yield
    finally:
        client.post_json(_client.app_path(app, "stop"))


def describe(spec: dict[str, Any]) -> str:
    """An image in one line."""
    base = spec["base"]
    steps = [] if base == "host" else [base]
    names = [base] if base == "host" else []
    for step in [*steps, *spec["steps"]]:
        words = step["arguments"] or list(step.get("options", {}).values())
        kind = [] if step["kind"] == "uv_pip_install" else [step["kind"].removesuffix("_install")]
        names.append(" ".join([*kind, *words]))
    return ", ".join(names)


_HOST = Image.host()


def _image_of(app: App, function: Function[..., Any] | Cls[Any]) -> Image:
    return function.settings.image or app.image or _HOST


def _images(app: App) -> list[Image]:
    return [_image_of(app, function) for function in app.functions.values()]


def _uploader(client: Client, tell: Progress) -> Upload:
    def upload(files: Files) -> str:
        found = files.find()
        return _source.upload_files(
            found, client, lambda n: tell("upload", f"{n} new file{'s' if n != 1 else ''}")
        )

    return upload


def _distinct(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [spec for i, spec in enumerate(specs) if spec not in specs[:i]]


def _tell_nobody(_stage: str, _line: str) -> None:
    pass
