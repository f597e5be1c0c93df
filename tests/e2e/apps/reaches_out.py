"""A function that tries to reach an address from its container."""

import socket

import ember

app = ember.App("reaches-out")


@app.function()
def reach(host: str, port: int) -> str:
    """Connect; return "reached", or the system's word on why not."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return "reached"
    except OSError as error:
        return error.strerror or str(error)


@app.function()
def reach_by_device(host: str, port: int) -> dict[str, str]:
    """The same of each device, as `reach` says it: to the kernel the host is then next door."""
    told = {}
    for _, name in socket.if_nameindex():
        with socket.socket() as out:
            out.settimeout(2)
            try:
                out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
                out.connect((host, port))
                told[name] = "reached"
            except OSError as error:
                told[name] = error.strerror or str(error)
    return told


@app.function()
def route(host: str) -> str:
    """Return the address from which a datagram to the host would leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((host, 9))
        return out.getsockname()[0]


@app.function()
def look_up(name: str) -> list[str]:
    """Return the addresses of a name."""
    found = socket.getaddrinfo(name, 80, socket.AF_INET)
    return sorted({str(entry[4][0]) for entry in found})
