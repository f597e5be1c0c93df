"""``ember dev FILE``: an app that follows its file, and its logs.

Each save makes a new version, in a process of its own that imports the file anew
(``_dev_version``). What was saved broken is told, and the version before it goes on serving. The
app is NAME-dev, so that a deployed one is never touched, and lives as long as the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from argparse import SUPPRESS

from ember import _client, _deploy
from ember.exception import EmberError

from . import _exit, _terminal
from ._app import all_apps, say_web_urls
from ._dev_version import NO_VERSION, make_version
from ._exit import usage_error
from ._interrupt import end_on_second_interrupt
from ._logs import write
from ._parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._dev_version import Version

_WITHOUT_SERVER_S = 1.0  # until it is asked for logs again
_MAX_LOG_LINES = 1_000
_SETTLED_MS = 30  # without another change: then all of a save is there
_LATEST_MS = 400


def dev(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember dev``."""
    parser = Parser(prog, f"{summary}; Ctrl-C ends it")
    parser.add_argument("file", help="a .py file with an ember.App")
    parser.add_argument("--name", help="the app's name meanwhile (default: that in FILE, and -dev)")
    # Given by this command to the process that it starts for a version.
    parser.add_argument("--answer-to", type=int, help=SUPPRESS)
    parser.add_argument("--unless", default="", help=SUPPRESS)
    options = parser.parse_args(argv)
    if options.answer_to is not None:
        return make_version(options.file, options.name, options.unless, options.answer_to)
    if not os.path.isfile(options.file):
        raise usage_error(f"{options.file} is not there", next_step=f"{prog} FILE.py")
    end_on_second_interrupt()
    try:
        _serve(options.file, options.name)
    except KeyboardInterrupt:
        return _exit.OK  # that is how it ends
    return _exit.OK


def _serve(file: str, name: str | None) -> None:
    versions = _versions(file, name)
    app = next(versions)["app"]
    try:
        with _deploy.kept_alive(app):
            threading.Thread(target=_follow_logs, args=(app,), daemon=True).start()
            for _ in versions:
                pass
    finally:
        _terminal.say(f"app {app} is stopped")


def _versions(file: str, name: str | None) -> Iterator[Version]:
    """Yield a version for each save that makes one."""
    root = os.path.dirname(os.path.abspath(file))
    last: Version = {**NO_VERSION, "root": root, "directories": [root]}
    saves = _Saves(last)
    while True:
        made = _version_of(file, name, last["fingerprint"])
        if made is not None and made["directories"] != last["directories"]:
            saves.end()
            saves = _Saves(made)
        if made is not None and made["fingerprint"] != last["fingerprint"]:
            if made["functions"] != last["functions"]:
                _tell_urls(made)
            last = made
            yield made
        saves.wait()


class _Saves:
    """What changes from now on in the directories of a version's source."""

    def __init__(self, version: Version) -> None:
        self._directories, self._root = version["directories"], version["root"]
        self._changed, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, name="ember-saves", daemon=True).start()

    def wait(self) -> None:
        """Wait for a change; all that changes together is one."""
        self._changed.wait()
        self._changed.clear()

    def end(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        from watchfiles import DefaultFilter, watch

        usual = DefaultFilter()  # none of caches, editors' and hidden files
        changes = watch(
            *self._directories,
            watch_filter=lambda change, path: usual(change, path) and self._may_travel(path),
            stop_event=self._ended,
            step=_SETTLED_MS,
            debounce=_LATEST_MS,
            recursive=False,
        )
        for _ in changes:
            self._changed.set()

    def _may_travel(self, path: str) -> bool:
        """Tell whether it may be part of the source: of data, what lies in a package."""
        return path.endswith(".py") or os.path.dirname(path) != self._root


def _version_of(file: str, name: str | None, unless: str) -> Version | None:
    """Make the file's app the version that serves; none where it cannot be, which is told then."""
    began_s = time.monotonic()
    answers, answer_to = os.pipe()
    command = [sys.executable, "-m", "ember.cli", "dev", file, "--answer-to", str(answer_to)]
    command += ["--unless", unless, *(["--name", name] if name else [])]
    with os.fdopen(answers) as answer, subprocess.Popen(command, pass_fds=[answer_to]) as process:
        os.close(answer_to)
        try:
            text = answer.read()
        except BaseException:
            process.terminate()
            raise
    if not text:
        _terminal.say(_terminal.style("waiting for the next save", "dim"))
        return None
    made: Version = json.loads(text)
    if made["fingerprint"] != unless:
        took_s = time.monotonic() - began_s
        _terminal.tick(f"{made['app']} version {made['version']} serves", took_s)
    return made


def _tell_urls(made: Version) -> None:
    for function in made["functions"]:
        if not function["web"]:
            _terminal.say(f"  {function['name']}  {function['url']}")
    say_web_urls(made["functions"])


def _follow_logs(app: str) -> None:
    """Write the app's lines as they come, also those after a restart of the server."""
    since_ms = next(one["updated_ms"] for one in all_apps() if one["name"] == app)
    while True:
        try:
            lines = _client.shared().stream_ndjson(
                "/api/v1/logs", app=app, last=_MAX_LOG_LINES, follow=True
            )
            for line in lines:
                if line.get("at_ms", since_ms) >= since_ms:
                    write(line, as_json=False)
                    since_ms = line.get("at_ms", since_ms)
        except EmberError:
            since_ms += 1  # that line is written
            time.sleep(_WITHOUT_SERVER_S)
