"""A function that sends data over its container's network."""

import socket
import time

import ember

app = ember.App("sends-out")


@app.function(scaledown_window=1)
def send(size: int) -> int:
    """Send datagrams into the void until `size` bytes more have left; return how many have in all.

    The loop ends by what the container's own kernel counts: nothing promises that a datagram
    leaves.
    """
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end = _left() + size
    while _left() < end:
        out.sendto(b"x" * 1000, ("10.0.2.3", 9))
        time.sleep(0.0005)
    return _left()


def _left() -> int:
    with open("/proc/net/dev") as counters:
        lines = [line.split(":") for line in counters if ":" in line]
    return sum(int(counts.split()[8]) for name, counts in lines if name.strip() != "lo")
