"""Functions under a kernel of their own; the volume's name comes by the environment."""

from __future__ import annotations

import os
import socket
import subprocess

import ember

NAME = os.environ.get("VOLUME", "shelf")
image = ember.Image.host().run_commands("echo built > /built; chmod 600 /built")
app = ember.App("walled", image=image)
volume = ember.Volume.from_name(NAME, create_if_missing=True)


@app.function(isolation="gvisor", scaledown_window=300)
def kernel() -> dict[str, str]:
    """What tells one kernel from another."""
    with open("/proc/version") as file:
        version = file.read()
    told = subprocess.run(["/usr/bin/dmesg"], capture_output=True, text=True, check=False)
    return {"version": version, "release": os.uname().release, "log": told.stdout}


@app.function(
    isolation="gvisor", volumes={"/data/shelf": volume}, env={"VOLUME": NAME},
    secrets=[ember.Secret.from_dict({"WORD": "of the secret"})],
)  # fmt: skip
def keep(text: str) -> list[object]:
    """Write to the image's root and to the volume, and commit that."""
    with open("/built") as file:
        built = file.read()
    with open("/built-since", "w") as file:
        file.write(text)
    with open("/data/shelf/kept", "w") as file:
        file.write(text)
    owner = os.stat("/data/shelf/kept").st_uid
    return [built, owner, os.environ["WORD"], volume.commit()]


@app.function(isolation="gvisor", volumes={"/data/shelf": volume}, env={"VOLUME": NAME})
def reload() -> str:
    """What a reload says."""
    try:
        volume.reload()
    except ember.exception.ConflictError as error:
        return str(error)
    return "reloaded"


@app.function(isolation="gvisor", scaledown_window=300)
def reach(host: str, port: int) -> str:
    """Whether it connects, or why not."""
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        return str(error)
    return "reached"


@app.function(isolation="gvisor", network="none", scaledown_window=300)
def reach_from_nowhere(host: str, port: int) -> str:
    """The same, without a network."""
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        return str(error)
    return "reached"


def _left() -> int:
    with open("/proc/net/dev") as file:
        return next(int(line.split()[9]) for line in file if "eth0" in line)


@app.function(isolation="gvisor", scaledown_window=0.5)
def send(size: int) -> int:
    """Send bytes into the void; how many have left by the container's own count."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        while (sent := _left()) < size:
            out.sendto(b"x" * 1000, ("10.0.2.3", 9))
    return sent


@app.function(isolation="gvisor", memory=256, scaledown_window=300)
def eat(mebibytes: int) -> int:
    """Take memory, and touch it."""
    return len(bytearray(mebibytes << 20))


@app.function(isolation="gvisor", memory=256, scaledown_window=300)
def start_threads(count: int) -> int:
    """How many of so many threads can be had."""
    import _thread
    import time

    for started in range(count):
        try:
            _thread.start_new_thread(time.sleep, (5,))
        except RuntimeError:
            return started
    return count
