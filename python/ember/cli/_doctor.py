"""``ember doctor``: whether this machine, or a server's state, is well, and what to do if not."""

from __future__ import annotations

import sys

from . import _exit, _start, _terminal
from ._exit import platform_error, usage_error
from ._parser import Parser
from ._server import Server, find_emberd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLOURS = {"ok": "green", "warning": "yellow", "trouble": "red"}


def doctor(prog: str, summary: str, argv: list[str]) -> int:
    """Run ``ember doctor``."""
    parser = Parser(prog, summary)
    parser.add_data()
    parser.add_argument(
        "--state", action="store_true", help="check the store and the ledger instead"
    )
    parser.add_argument(
        "--database", metavar="FILE", help="with --state: this file, such as a copy of state.db"
    )
    parser.add_argument(
        "--isolation",
        choices=("auto", "container", "process"),
        help="of the function that is run as a test (default: as `ember up` was last told)",
    )
    parser.add_json()
    options = parser.parse_args(argv)
    if options.database and not options.state:
        raise usage_error("--database goes with --state", next_step=f"{prog} --state --database …")
    report = _ask(Server(options.data), options)
    if options.json:
        _terminal.document(report)
    else:
        _describe(report["findings"])
    return _exit.OK if report["ok"] else _exit.PLATFORM


def _ask(server: Server, options: Any) -> dict[str, Any]:
    """Return what ``emberd doctor`` found."""
    import json
    import subprocess

    command = [find_emberd(), "doctor", "--json", "--data", server.data]
    if options.state:
        command += ["--state", *(["--database", options.database] if options.database else [])]
    else:
        how = _start.remembered_node(server)
        how["isolation"] = options.isolation or how["isolation"]
        command += [*_start.node_tools(), *_start.container_flags(how)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise platform_error(
            f"emberd doctor gave no report (status {done.returncode})",
            evidence=(done.stdout + done.stderr)[-2000:],
            next_step=f"run it by hand: {' '.join(command)}",
        ) from None


def _describe(findings: list[dict[str, Any]]) -> None:
    """Write a line for each finding, and below it what to do."""
    for finding in findings:
        verdict = finding["verdict"]
        word = _terminal.style(f"{verdict:<8}", _COLOURS[verdict], sys.stdout)
        _terminal.data(f"{word} {finding['check']:<13} {finding['text']}")
        if finding["next_step"]:
            _terminal.data(f"{'':<8} {'':<13} next: {finding['next_step']}")
    counts = [sum(one["verdict"] == verdict for one in findings) for verdict in _COLOURS]
    _terminal.say("{} ok, {} warnings, {} troubles".format(*counts))
