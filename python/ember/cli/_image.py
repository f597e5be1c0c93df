"""``ember image``: builds, lists, shows, prunes, pulls and pushes images."""

from __future__ import annotations

from ember._client import quote, shared
from ember.exception import EmberError, InvalidArgumentError, from_error_body

from . import _exit, _terminal
from ._exit import usage_error
from ._parser import Parser, close_names
from ._progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._image import Image

_PATH = "/api/v1/images"
_AUTH = "one with REGISTRY_USERNAME and REGISTRY_PASSWORD, for a registry that asks"
_DAY_MS = 24 * 3600 * 1000


def list_images(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image list``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(_PATH)
    if options.json:
        _terminal.document(document)
        return _exit.OK
    from ember._deploy import describe

    rows = [
        {
            "image": image["image_id"],
            "made of": describe(image["spec"]),
            "size": _terminal.size(image["bytes"]),
            "used": _terminal.ago(image["used_us"] // 1000) if image["layers"] else "",
            "by": ", ".join(image["used_by"]) or "no app",
        }
        for image in document["images"]
    ]
    _terminal.table(
        rows,
        ["image", "made of", "size", "used", "by"],
        right=["size"],
        cut_column="made of",
        empty="no images; `ember deploy` builds those that an app needs",
    )
    if rows:
        _terminal.say(f"{_terminal.size(document['layers_bytes'])} of layers, which images share")
    return _exit.OK


def show_logs(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image logs``."""
    parser = Parser(prog, summary)
    parser.add_argument("image", help="an image's id (ember image list)")
    parser.add_json()
    options = parser.parse_args(argv)
    document = shared().get_json(f"{_PATH}/{quote(options.image)}/log")
    if options.json:
        _terminal.document(document)
    else:
        _terminal.data(document["log"].rstrip("\n"))
    return _exit.OK


def build(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image build``."""
    parser = Parser(prog, summary)
    parser.add_argument("target", metavar="FILE[::NAME]", help="a .py file, and an image in it")
    parser.add_json()
    options = parser.parse_args(argv)
    images = _images_of(options.target)
    return _build({name: image.spec(_upload) for name, image in images.items()}, options.json)


def pull(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image pull``."""
    parser = Parser(prog, summary)
    parser.add_argument("reference", help='an image of a registry, such as "python:3.11-slim"')
    parser.add_argument("--add-python", metavar="VERSION", help="where the image has no Python")
    parser.add_argument("--auth", metavar="SECRET", help=_AUTH)
    parser.add_json()
    options = parser.parse_args(argv)
    from ember._image import Image
    from ember._secret import Secret

    auth = Secret.from_name(options.auth) if options.auth else None
    image = Image.from_registry(options.reference, add_python=options.add_python, auth=auth)
    return _build({options.reference: image.spec(_upload)}, options.json)


def push(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image push``."""
    parser = Parser(prog, summary)
    parser.add_argument("image", help="an image's id (ember image list)")
    parser.add_argument("reference", help='where to, such as "registry.example:5000/team/app:1"')
    parser.add_argument("--auth", metavar="SECRET", help=_AUTH)
    parser.add_json()
    options = parser.parse_args(argv)
    progress = Progress()
    progress("push", f"{options.image} to {options.reference}")
    end: dict[str, Any] = {}
    for document in shared().stream_ndjson(
        f"{_PATH}/{quote(options.image)}/push",
        method="POST",
        body={"reference": options.reference, **({"auth": options.auth} if options.auth else {})},
    ):
        if "line" in document:
            progress("image_line", document["line"])
        else:
            end = document
    if "error" in end:
        raise from_error_body(end["error"])
    if not end.get("ready"):
        raise EmberError("the push ended without a result; try again")
    progress.finish()
    if options.json:
        _terminal.document({"image_id": options.image, "reference": options.reference})
    return _exit.OK


def prune(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember image prune``."""
    parser = Parser(prog, summary)
    parser.add_argument(
        "--older-than",
        metavar="DAYS",
        type=float,
        default=None,
        help="what was not used for so long",
    )
    parser.add_argument(
        "--max-gib",
        metavar="N",
        type=float,
        default=None,
        help="until layers take no more than this",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    body: dict[str, int] = {}
    if options.max_gib is not None:
        body = {"max_bytes": round(options.max_gib * 2**30), "unused_ms": 10**12}
    if options.older_than is not None:
        body["unused_ms"] = round(options.older_than * _DAY_MS)
    if any(value < 0 for value in body.values()):
        raise usage_error("a limit cannot be below zero", next_step=f"{prog} --help")
    document = shared().post_json(f"{_PATH}/prune", body)
    if options.json:
        _terminal.document(document)
        return _exit.OK
    removed = document["removed_images"]
    gone = "1 image" if len(removed) == 1 else f"{len(removed)} images"
    _terminal.say(f"{_terminal.size(document['freed_bytes'])} freed; {gone} gone")
    return _exit.OK


def _build(specs: dict[str, dict[str, Any]], as_json: bool) -> int:
    from ember import _deploy

    progress = Progress()
    built = {name: _deploy.build(spec, shared(), progress) for name, spec in specs.items()}
    progress.finish()
    if as_json:
        _terminal.document({"images": [{"name": n, "image_id": i} for n, i in built.items()]})
        return _exit.OK
    for image_id in dict.fromkeys(built.values()):
        _terminal.data(image_id)
    return _exit.OK


def _images_of(target: str) -> dict[str, Image]:
    """Return the images of a file by name: its own, and those of its app and functions."""
    from ember._app import App
    from ember._function import Function
    from ember._image import Image

    from ._script import load_module

    path, _, name = target.partition("::")
    found: dict[str, Image] = {}
    for key, value in vars(load_module(path)).items():
        image = value if isinstance(value, Image) else None
        if isinstance(value, App):
            image = value.image
        elif isinstance(value, Function):
            image = value.settings.image
        if image is not None:
            found[key] = image
    if name and name not in found:
        hint = close_names(name, found) or f"it has {', '.join(found) or 'none'}"
        raise InvalidArgumentError(f"{path} has no image {name}: {hint}")
    if not found:
        raise InvalidArgumentError(f"{path} has no image: nothing in it is an ember.Image")
    return {name: found[name]} if name else found


def _upload(files: Any) -> str:
    from ember import _source

    return _source.upload_files(files.find(), shared())
