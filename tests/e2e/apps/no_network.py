"""Functions whose containers can send nothing anywhere."""

import socket

import ember

app = ember.App("no-network")


@app.function()
def double(n: int) -> int:
    """Return twice as much, from a container that has a network."""
    return 2 * n


@app.function(network="none")
def look(host: str) -> dict:
    """Try to leave by each way; return what came of it."""
    return {
        "interfaces": [name for _, name in socket.if_nameindex()],
        "address": _word(lambda: socket.create_connection((host, 53), timeout=5)),
        "name": _word(lambda: socket.getaddrinfo("example.org", 80)),
        "loopback": _word(_over_loopback),
        "machine": _word(_over_the_machines_abstract_sockets),
        "call": double.remote(21),
    }


def _word(try_it) -> str:
    try:
        try_it()
    except OSError as error:
        return type(error).__name__ + ": " + (error.strerror or str(error))
    return "reached"


def _over_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()


def _over_the_machines_abstract_sockets() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0ember-e2e-no-network")
