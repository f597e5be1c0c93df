"""Functions whose containers may send to what DESTINATIONS lists at the deploy."""

import os
import socket
import struct

import ember

app = ember.App("listed")

DESTINATIONS = os.environ.get("DESTINATIONS", "203.0.113.1").split()
NAME_SERVER = "10.0.2.3"


@app.function(network=DESTINATIONS)
def reach(host: str, port: int, *, by_interface: bool = False) -> str:
    """Connect, if wished past the routes; return "reached", or the system's word on why not."""
    with socket.socket() as client:
        client.settimeout(5)
        if by_interface:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _interface())
        try:
            client.connect((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return "reached"


@app.function(network=DESTINATIONS)
def look_up(name: str) -> list[str] | str:
    """Return the addresses of a name, or the resolver's word on why there are none."""
    try:
        found = socket.getaddrinfo(name, 80, proto=socket.IPPROTO_TCP)
    except OSError as error:
        return str(error.strerror)
    return sorted({str(entry[4][0]) for entry in found})


@app.function(network=DESTINATIONS)
def ask_by_interface(name: str) -> int:
    """Ask the name server past the routes; return the code of its answer."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _interface())
        client.sendto(question, (NAME_SERVER, 53))
        return client.recv(512)[3] & 0xF


def _interface() -> bytes:
    return next(name for _, name in socket.if_nameindex() if name != "lo").encode()
