"""Types defined in the script are the same on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import ember

app = ember.App("same-types")


@dataclass
class Point:
    x: int
    y: int


class TooFar(Exception):
    pass


@app.function()
def mirror(point: Point) -> Point:
    if point.x > 100:
        raise TooFar(point.x)
    return Point(point.y, point.x)


@app.local_entrypoint()
def main() -> None:
    assert mirror.remote(Point(1, 2)) == Point(2, 1)
    try:
        mirror.remote(Point(101, 0))
    except TooFar as error:
        print("caught", error.args)
