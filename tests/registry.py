"""A registry on loopback: Debian's docker-registry, with a directory of its own."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import subprocess
import tempfile
from typing import TYPE_CHECKING

from conftest import wait_until
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_ASKS = """
auth: {{htpasswd: {{realm: ember, path: {directory}/users}}}}
"""


@contextlib.contextmanager
def running_registry(user: str = "", password: str = "") -> Iterator[str]:
    """Its address, as in "127.0.0.1:5000". With a user it asks who comes."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ember-registry-") as directory:
        settings = f"{directory}/config.yml"
        with open(settings, "w") as file:
            file.write(_SETTINGS.format(directory=f"{directory}/data", port=port))
            file.write(_ASKS.format(directory=directory) if user else "")
        with open(f"{directory}/users", "w") as file:
            file.write(f"{user}:{_bcrypt(password)}\n")
        process = subprocess.Popen(
            ["docker-registry", "serve", settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until("the registry", lambda: _answers(port))
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _bcrypt(password: str) -> str:
    """As htpasswd has it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()
