"""The two processes of a machine's Ember: where their files lie, whether they live, their logs.

Each process holds a lock on its pid file for as long as it lives, so a pid file left behind by a
crash never passes for a running process.
"""

from __future__ import annotations

import os

from ember import _config

from ._exit import CommandError, platform_error, usage_error

DRAIN_TIMEOUT_S = 600  # the longest that `ember down` lets running calls go on
_TAIL_LINES = 12
_MAX_LOG_BYTES = 16 << 20


class Server:
    """A data directory and the processes that use it."""

    def __init__(self, data: str | None) -> None:
        told = os.environ.get("EMBER_DATA") if data is None else data
        if told == "":  # more likely a variable that is not set than a wish for the default
            raise usage_error(
                f"{'EMBER_DATA' if data is None else '--data'} is empty",
                next_step="name a directory, or leave it out for the default one",
            )
        self.is_default = data is None
        self.data = os.path.abspath(data or _config.data_directory())
        self.key_path = self.path("key")
        self.url_path = self.path("url")
        self.lock_path = self.path("up.lock")
        self.node_socket = self.path("node", "node.sock")

    def path(self, *names: str) -> str:
        """Return a path in the data directory."""
        return os.path.join(self.data, *names)

    def make(self) -> None:
        """Make the directory, and the file of its lock; say why where that cannot be."""
        try:
            os.makedirs(self.data, exist_ok=True)
            os.close(os.open(self.lock_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        except OSError as error:
            raise usage_error(
                f"{self.data} cannot be the data directory: {error.strerror}",
                next_step="--data DIR with one that you can write to, or run this as its owner",
            ) from None

    def pid(self, role: str) -> int | None:
        """Return the process that runs as ``serve`` or ``node``, or None."""
        import fcntl

        try:
            with open(self.path(f"{role}.pid"), encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    text = file.read().strip()
                    return int(text) if text.isdigit() else None
        except OSError:
            return None  # never started here
        return None

    def url(self) -> str:
        """Return where the server listens, or an empty text."""
        try:
            with open(self.url_path, encoding="utf-8") as file:
                return file.readline().strip()
        except OSError:
            return ""

    def has_leftovers(self) -> bool:
        """Whether the node has gone and left containers, or was killed and so left its helpers."""
        import glob

        if self.pid("node") is not None:
            return False
        containers = glob.escape(self.path("node", "containers")) + "/*/meta.json"
        return os.path.exists(self.node_socket) or bool(glob.glob(containers))

    def use(self) -> None:
        """Make this server the one that this process's client speaks to."""
        if not self.is_default:
            os.environ["EMBER_DATA"] = self.data
            os.environ.pop("EMBER_URL", None)
            os.environ.pop("EMBER_KEY", None)

    def open_log(self, role: str) -> int:
        """Return a descriptor that appends to a role's log; one that has grown is set aside."""
        path = self.log_path(role)
        if os.path.exists(path) and os.path.getsize(path) > _MAX_LOG_BYTES:
            os.replace(path, path + ".1")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def log_path(self, role: str) -> str:
        """Return the path of a role's log."""
        return self.path(f"{role}.log")

    def log_tail(self, role: str, offset: int = 0) -> str:
        """Return the last lines that a role wrote after an offset of its log."""
        try:
            with open(self.log_path(role), "rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(offset, end - 8192))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])


def find_emberd() -> str:
    """Return the path of ``emberd``: told, else of this checkout, else on PATH."""
    told = os.environ.get("EMBER_EMBERD")
    if told:
        if os.access(told, os.X_OK):
            return told
        raise CommandError(
            f"EMBER_EMBERD={told} cannot be run",
            status=2,
            next_step="unset it, or name the emberd that you built",
        )
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    checkout = os.path.join(os.path.dirname(os.path.dirname(package)), "build", "bin", "emberd")
    if os.access(checkout, os.X_OK):
        return checkout
    import shutil

    found = shutil.which("emberd")
    if found:
        return found
    raise platform_error(
        f"emberd is neither at {checkout} nor on PATH", next_step="make build, or set EMBER_EMBERD"
    )


def signal_process(pid: int, signal_number: int) -> None:
    """Send a signal; a process that has gone is as good as signalled."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise platform_error(
            f"process {pid} belongs to another user",
            next_step="run this as the user who ran `ember up`",
        ) from None


def wait_for_end(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended; whether it has within the time."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
