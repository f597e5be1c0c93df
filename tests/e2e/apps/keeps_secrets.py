"""Functions with secrets that came in each way, and one without; for tests/e2e/test_secrets.py."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import ember

app = ember.App("keeps-secrets")

KEYS = ("BY_NAME", "BY_DICT", "BY_DOTENV", "BY_ENVIRON")


@app.function(
    secrets=[
        ember.Secret.from_name("canary", required_keys=["BY_NAME"]),
        ember.Secret.from_name("canary-file", mount="/run/secrets/files"),
        ember.Secret.from_dict({"BY_DICT": os.environ.get("CANARY_FOR_DICT", "-")}),
        ember.Secret.from_dotenv(os.environ.get("CANARY_DOTENV")),
        ember.Secret.from_local_environ(["BY_ENVIRON"]),
    ],
)
def use(what: str = "digests") -> object:
    """What proves that the values are here, without being them; or a way to fail with them."""
    print("used by a call")
    path = os.environ["EMBER_SECRETS"] + "/files/BY_FILE"
    if what == "raise":
        raise ValueError("it failed with secrets at hand")
    if what == "crash":
        os.abort()
    if what == "core":
        return dump_core()
    if what == "file":
        return [Path("/proc/mounts").read_text(), oct(os.stat(path).st_mode), os.listdir("/run")]
    values = {key: os.environ[key] for key in KEYS}
    with open(path) as file:
        values["BY_FILE"] = file.read()
    return {key: hashlib.sha256(value.encode()).hexdigest() for key, value in values.items()}


@app.function()
def other() -> list[object]:
    """All that another function of the same app can see of its surroundings."""
    found: list[object] = [sorted(os.environ.items())]
    found.append([os.listdir(at) for at in ("/run", "/dev/shm", "/tmp", "/ember/run")])
    found.append(Path("/ember/run/function.json").read_text())
    for name in os.listdir("/proc"):
        if name.isdigit():
            with open(f"/proc/{name}/environ", "rb") as file:
                found.append(file.read().decode(errors="replace"))
    return found


def dump_core() -> bool:
    """Whether the kernel writes a core of a process with these values."""
    os.chdir("/tmp")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    _, status = os.waitpid(child, 0)
    return os.WCOREDUMP(status) or any(name.startswith("core") for name in os.listdir("/tmp"))
