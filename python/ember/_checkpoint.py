"""Checkpoints: what an attempt leaves for the next one of the same call.

A call has a directory in a volume of Ember's own. Each checkpoint is a directory NUMBER-RANDOM in
it, with the file or directory that was given, beside NUMBER-RANDOM.json, which says what is there:
one that is not as it says is not whole, and counts for nothing. The one before goes once the new
one is published.
"""

from __future__ import annotations

import os

from ember import _context, _json
from ember._aio import Bound
from ember.exception import ConflictError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

_ROOT = "/checkpoints"
_VOLUME = "ember:checkpoints"
_RELOADS = 5
_RELOAD_PAUSE_S = 0.2


def _checkpoint(path: str | PathLike[str]) -> None:
    """Publishes a file or directory as the newest checkpoint of the call that runs here.

    It is on the server's disk when this returns. Outside a container nothing happens.
    """
    place = _place("checkpoint")
    if place is None:
        return
    source = os.path.abspath(path)
    if not os.path.lexists(source):
        raise InvalidArgumentError(f"checkpoint: there is no {source}")
    os.makedirs(place, exist_ok=True)
    before = os.listdir(place)
    name = f"{_last_number(before) + 1:08d}-{os.urandom(4).hex()}"
    draft = f"{place}/.{name}"
    os.mkdir(draft)
    _copy(source, f"{draft}/{os.path.basename(source) or 'root'}")
    listing = _json.dumps(_entries(draft))
    os.rename(draft, f"{place}/{name}")
    with open(f"{place}/{name}.json", "w", encoding="utf-8") as file:
        file.write(listing)
    _volume("commit")
    for one in before:
        _remove(f"{place}/{one}")


def _latest_checkpoint() -> str | None:
    """The newest whole checkpoint of the call that runs here, by its path; None for none.

    It is there until the next one is published.
    """
    place = _place("latest_checkpoint")
    if place is None:
        return None
    _reload()
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return None
    for name in sorted(names, reverse=True):
        if not name.endswith(".json") and not name.startswith(".") and _is_whole(f"{place}/{name}"):
            (entry,) = os.listdir(f"{place}/{name}")
            return f"{place}/{name}/{entry}"
    return None


checkpoint = Bound(_checkpoint)
latest_checkpoint = Bound(_latest_checkpoint)


def _place(what: str) -> str | None:
    """The directory of the call that runs here; None outside of a container."""
    if not _context.in_container:
        return None
    if not os.path.ismount(_ROOT):
        raise InvalidArgumentError(
            f"{what}: this function has no checkpoints; say @app.function(checkpoints=True)"
        )
    call_id = _context.current_call_id()
    if call_id is None:
        raise InvalidArgumentError(f"{what}: no call runs here")
    return f"{_ROOT}/{call_id}"


def _last_number(names: list[str]) -> int:
    numbers = [name.lstrip(".").partition("-")[0] for name in names]
    return max((int(one) for one in numbers if one.isdigit()), default=0)


def _copy(source: str, target: str) -> None:
    import shutil

    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy(source, target)


def _entries(root: str) -> dict[str, int]:
    """What is beneath it: sizes of files and links by path, -1 for a directory."""
    found = {}
    for above, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(above, name)
            is_directory = os.path.isdir(path) and not os.path.islink(path)
            size = -1 if is_directory else os.lstat(path).st_size
            found[os.path.relpath(path, root)] = size
    return found


def _is_whole(path: str) -> bool:
    try:
        with open(f"{path}.json", encoding="utf-8") as file:
            return _json.loads(file.read()) == _entries(path)
    except (OSError, ValueError):
        return False


def _remove(path: str) -> None:
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _reload() -> None:
    """Shows what other containers have published; waits for files here to be closed."""
    for left in reversed(range(_RELOADS)):
        try:
            _volume("reload")
            return
        except ConflictError:
            if left == 0:
                raise
            import gc
            import time

            gc.collect()
            time.sleep(_RELOAD_PAUSE_S)


def _volume(action: str) -> None:
    from ember.runner import _calls

    _calls.volume(action, _VOLUME)
