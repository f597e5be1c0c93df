"""``ember version``: of this package, and of the emberd that `ember up` would start."""

from __future__ import annotations

import ember

from . import _exit, _terminal
from ._exit import CommandError
from ._parser import Parser
from ._server import find_emberd

_TIMEOUT_S = 10


def version(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember version``."""
    parser = Parser(prog, summary)
    parser.add_json()
    options = parser.parse_args(argv)
    try:
        emberd = find_emberd()
    except CommandError as error:
        emberd, emberd_version, why = None, None, error.message
    else:
        emberd_version, why = _version_of(emberd)
    if options.json:
        _terminal.document(
            {"version": ember.__version__, "emberd_version": emberd_version, "emberd": emberd}
        )
        return _exit.OK
    _terminal.data(f"ember {ember.__version__}")
    if emberd_version:
        _terminal.data(f"emberd {emberd_version} ({emberd})")
    else:
        _terminal.say(f"emberd: {why}")
    return _exit.OK


def _version_of(emberd: str) -> tuple[str | None, str]:
    """Return the version that an emberd says it has, or why it says none."""
    import subprocess

    try:
        done = subprocess.run(
            [emberd, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{emberd} does not say its version: {error}"
    if done.returncode != 0 or not done.stdout.strip():
        return None, f"{emberd} does not say its version: status {done.returncode}"
    return done.stdout.strip(), ""
