"""Runs named attempts to get out of a container and tells how each ended.

The same code runs in a container of Ember's and, as a program, in one that lacks what is to stop
it: the program makes the attempt of its arguments, or those of its input, one a line. An attempt
returns what it reached, in words, or raises the error that stopped it. It runs in a process of its
own, since some are killed for trying.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from typing import Any

import on_calls
import on_devices
import on_files
import on_limits
import on_namespaces
import on_others
import on_rights
from _system import Refused

ATTEMPTS = {
    name: function
    for module in (
        on_calls,
        on_devices,
        on_files,
        on_limits,
        on_namespaces,
        on_others,
        on_rights,
    )
    for name, function in vars(module).items()
    if not name.startswith("_") and getattr(function, "__module__", "") == module.__name__
}


def outcome(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """{"escaped": whether it got out, "how": what it reached or what stopped it}."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _report(writing, name, given)
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        text = report.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"escaped": False, "how": f"killed: {signal.Signals(os.WTERMSIG(status)).name}"}
    return json.loads(text)


def _report(writing: int, name: str, given: dict[str, Any]) -> None:
    try:
        answer = {"escaped": True, "how": str(ATTEMPTS[name](**given))}
    except OSError as error:
        answer = {"escaped": False, "how": errno.errorcode.get(error.errno or 0, str(error))}
    except Refused as error:
        answer = {"escaped": False, "how": str(error)}
    except BaseException:
        answer = {"escaped": False, "how": "broken", "broken": traceback.format_exc()}
    os.write(writing, json.dumps(answer).encode())
    os._exit(0)


if __name__ == "__main__":
    asked = [sys.argv[1:]] if sys.argv[1:] else map(json.loads, sys.stdin)
    for one_name, one_given in asked:
        print(json.dumps(outcome(one_name, json.loads(one_given))), flush=True)
