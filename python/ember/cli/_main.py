"""From a command line to an exit status: finds the command, runs it, words its errors."""

from __future__ import annotations

import errno
import os
import sys

from . import _exit, _terminal
from ._exit import CommandError, usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Words of a command: (module, function, one line of help). The order is that of the help.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("_up", "up", "start Ember on this machine, in the background"),
    "status": ("_status", "status", "what runs, and what this machine cannot do"),
    "down": ("_down", "down", "let running calls finish, then stop all"),
    "run": ("_run", "run", "run a file's entrypoint or function in an app for this once"),
    "dev": ("_dev", "dev", "serve a file's app while you work on it: each save is a new version"),
    "deploy": ("_deploy", "deploy", "deploy a file's app as a new version"),
    "call": ("_call", "call", "call a deployed function"),
    "call list": ("_call_list", "list_calls", "recent calls"),
    "call show": ("_call_list", "show_call", "one call: state, phases, price, why it waits"),
    "call graph": ("_call_graph", "show_graph", "a call and all that it has called, as a tree"),
    "call result": ("_call_list", "show_result", "what a spawned call returned"),
    "call retry": ("_call_list", "retry_calls", "run ended calls again, as new ones"),
    "call cancel": ("_call_list", "cancel_call", "cancel a call"),
    "schedule list": ("_schedule", "list_schedules", "what the server runs by itself, and when"),
    "schedule run": ("_schedule", "run_schedule", "run a function with a schedule now"),
    "schedule pause": ("_schedule", "pause_schedule", "run none of a schedule's ticks"),
    "schedule resume": ("_schedule", "resume_schedule", "run a schedule's ticks again"),
    "webhook list": ("_webhook", "list_webhooks", "what URLs were told of calls' ends"),
    "webhook show": ("_webhook", "show_webhook", "one webhook, and what it tells"),
    "webhook replay": ("_webhook", "replay", "send webhooks again, from the first try"),
    "webhook secret": ("_webhook", "secret", "the key that receivers verify them with"),
    "app list": ("_app", "list_apps", "apps of this server"),
    "app history": ("_app", "history", "versions of an app"),
    "app rollback": ("_app", "rollback", "make an earlier version the current one"),
    "app stop": ("_app", "stop", "stop an app and its containers"),
    "function list": ("_list", "list_functions", "functions, their containers and why so many"),
    "function scale": ("_scale", "scale", "change how many containers a function has, at once"),
    "container list": ("_list", "list_containers", "containers and what they do"),
    "container exec": ("_container", "execute", "run a command in a container"),
    "container logs": ("_container", "logs", "what a container wrote"),
    "container top": ("_container", "top", "the processes of a container"),
    "container stack": ("_container", "stack", "what the Python threads of a container do"),
    "container stop": ("_container", "stop", "end a container"),
    "shell": ("_shell", "shell", "a shell in a container"),
    "node list": ("_list", "list_nodes", "machines and their devices"),
    "key create": ("_key", "create_key", "a new key, shown once"),
    "key list": ("_key", "list_keys", "the keys that open this server"),
    "key revoke": ("_key", "revoke_key", "make a key open nothing any more"),
    "image list": ("_image", "list_images", "images, their sizes and who uses them"),
    "image logs": ("_image", "show_logs", "what the build of an image wrote"),
    "image build": ("_image", "build", "build the images of a file"),
    "image pull": ("_image", "pull", "have an image of a registry here"),
    "image push": ("_image", "push", "send an image to a registry"),
    "image prune": ("_image", "prune", "remove layers that no app uses"),
    "secret create": ("_secret", "create_secret", "a secret, or its next version"),
    "secret list": ("_secret", "list_secrets", "secrets and their keys, without values"),
    "secret show": ("_secret", "show_secret", "one secret: its versions and who uses it"),
    "secret delete": ("_secret", "delete_secret", "delete a secret with all its versions"),
    "lease gpu": ("_lease", "lease_gpu", "have a GPU to yourself for a time"),
    "lease list": ("_lease", "list_leases", "who has which GPUs, and until when"),
    "lease end": ("_lease", "end_lease", "give a leased GPU back before its time"),
    "volume create": ("_volume", "create", "a new volume"),
    "volume list": ("_volume", "list_volumes", "the volumes of this server"),
    "volume ls": ("_volume", "list_files", "what a volume holds"),
    "volume get": ("_volume", "get", "copy files of a volume here"),
    "volume put": ("_volume", "put", "put files into a volume, as one new version"),
    "volume cp": ("_volume", "copy", "copy files within a volume"),
    "volume rm": ("_volume", "remove", "remove files of a volume"),
    "volume mv": ("_volume", "move", "move files within a volume"),
    "volume history": ("_volume", "history", "versions of a volume"),
    "volume rollback": ("_volume", "rollback", "make a new version of an earlier one"),
    "volume delete": ("_volume", "delete", "delete a volume and its history"),
    "dict create": ("_shared", "create_dict", "a new dict, which functions share"),
    "dict list": ("_shared", "list_dicts", "the dicts of this server"),
    "dict items": ("_shared", "list_entries", "what a dict holds"),
    "dict get": ("_shared", "get_entry", "the value of a key"),
    "dict put": ("_shared", "put_entry", "put the value of a key"),
    "dict clear": ("_shared", "clear_dict", "remove all that is in a dict"),
    "dict delete": ("_shared", "delete_dict", "delete a dict with all that is in it"),
    "queue create": ("_shared", "create_queue", "a new queue, which functions share"),
    "queue list": ("_shared", "list_queues", "the queues of this server"),
    "queue peek": ("_shared", "peek", "the first items of a queue, which stay there"),
    "queue put": ("_shared", "put_item", "put an item into a queue"),
    "queue len": ("_shared", "length", "how many items a queue has"),
    "queue clear": ("_shared", "clear_queue", "remove the items of a queue"),
    "queue delete": ("_shared", "delete_queue", "delete a queue with all that is in it"),
    "logs": ("_logs", "logs", "what an app's functions wrote"),
    "cost": ("_cost", "cost", "the bill, cut by app, function, day, phase or meter"),
    "prices list": ("_cost", "list_prices", "the price book"),
    "doctor": ("_doctor", "doctor", "whether this machine, or a server's state, is well"),
    "version": ("_version", "version", "the versions of the command line and of emberd"),
}
_GROUPS = {words.split()[0] for words in COMMANDS if " " in words}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DISK_ERRORS = {*_FULL, errno.EROFS, errno.EIO}
# What the server's error codes (docs/reference/http.md) are as exit statuses.
_STATUSES = {
    "invalid_argument": _exit.USAGE,
    "payload_too_large": _exit.USAGE,
    "not_found": _exit.USAGE,
    "unknown_variant": _exit.USAGE,
    "conflict": _exit.USAGE,
    "deadlock": _exit.USER_CODE_FAILED,
    "unauthenticated": _exit.AUTHENTICATION,
    "permission_denied": _exit.AUTHENTICATION,
    "resource_exhausted": _exit.QUOTA,
    "user_exception": _exit.USER_CODE_FAILED,
    "timed_out": _exit.USER_CODE_FAILED,
    "cancelled": _exit.USER_CODE_FAILED,
    "container_crashed": _exit.USER_CODE_FAILED,
    "out_of_memory": _exit.USER_CODE_FAILED,
    "start_failed": _exit.USER_CODE_FAILED,
}


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    words = list(argv)
    trace = "--trace" in words[:1] or bool(os.environ.get("EMBER_TRACE"))
    if words[:1] == ["--trace"]:
        words.pop(0)
    _open_closed_streams()
    try:
        status = _dispatch(words)
        _terminal.flush()
    except BrokenPipeError:
        return _exit.OK  # the reader of stdout has had enough
    except KeyboardInterrupt:
        return _exit.INTERRUPTED
    except Exception as error:
        if trace:
            import traceback

            _terminal.say(traceback.format_exc())
        return _explain(error)
    return status


def _open_closed_streams() -> None:
    """Fill the places of streams that the shell closed, lest a socket takes one.

    A write to stdout fails then, as it should; what is for people goes nowhere.
    """
    for name, flags, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        _terminal.write(_help())
        return _exit.OK
    if words[0] == "--version":
        words[0] = "version"
    try:
        name, arguments = _split(words)
        module_name, function_name, summary = COMMANDS[name]
        from importlib import import_module

        command = getattr(import_module(f"ember.cli.{module_name}"), function_name)
        return command(f"ember {name}", summary, arguments)
    except SystemExit as done:  # argparse's --help
        return done.code if isinstance(done.code, int) else _exit.OK


def _split(words: list[str]) -> tuple[str, list[str]]:
    """Return the command that the words name, and its arguments."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    if f"{first} {second}" in COMMANDS:
        return f"{first} {second}", words[2:]
    if first in COMMANDS:
        return first, words[1:]
    from ._parser import close_names

    if first not in _GROUPS:
        names = {words.split()[0] for words in COMMANDS}
        raise usage_error(
            f"there is no command {first!r}",
            evidence=close_names(first, names),
            next_step="ember --help",
        )
    subcommands = [words.split()[1] for words in COMMANDS if words.startswith(f"{first} ")]
    if second in ("-h", "--help", ""):
        _terminal.write(_help(first))
        raise SystemExit(_exit.OK if second else _exit.USAGE)
    raise usage_error(
        f"there is no command `ember {first} {second}`",
        evidence=close_names(second, subcommands),
        next_step=f"ember {first} --help",
    )


def _help(group: str = "") -> str:
    lines = [f"usage: ember {group or 'COMMAND'} ...", ""]
    for words, (_, _, summary) in COMMANDS.items():
        if not group or words.split()[0] == group:
            lines.append(f"  {words:<16}{summary}")
    lines += [
        "",
        "Each command has --help. Data goes to stdout, the rest to stderr.",
        "Exit status: 0 ok, 1 user code failed, 2 usage, 3 key, 4 quota, 5 platform.",
        "",
    ]
    return "\n".join(lines)


def _explain(error: Exception) -> int:
    """Write an error as people need it and return its exit status."""
    from ember.exception import EmberError

    if isinstance(error, EmberError):
        error = _of_the_platform(error)
    elif isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        error = _of_the_disk(error)
    if not isinstance(error, CommandError):
        error = _exit.platform_error(
            f"the command line failed: {type(error).__name__}: {error}",
            next_step="ember --trace ...  (and report what it prints)",
        )
    _terminal.say(f"{_terminal.style('error:', 'red')} {error.message}")
    for line in error.evidence.splitlines():
        _terminal.say(f"  {line}")
    if error.next_step:
        _terminal.say(f"next: {error.next_step}")
    return error.status


def _of_the_disk(error: OSError) -> CommandError:
    where = error.filename or "a file of the data directory"
    return _exit.platform_error(
        f"{where} cannot be written: {error.strerror}",
        next_step=f"free some room on the disk of {where}"
        if error.errno in _FULL
        else "ember doctor",
    )


def _of_the_platform(error: Exception) -> CommandError:
    code = getattr(error, "code", "internal")
    call_id = getattr(error, "call_id", None)
    next_step = f"ember call show {call_id}" if call_id else ""
    retry_after_s = getattr(error, "retry_after_s", None)
    if code == "resource_exhausted" and retry_after_s:
        next_step = f"try again in {retry_after_s:.0f} s"
    if code == "unauthenticated":
        next_step = "set EMBER_KEY, or read the key as the user who ran `ember up`"
    return CommandError(str(error), status=_STATUSES.get(code, _exit.PLATFORM), next_step=next_step)
