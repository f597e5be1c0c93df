"""The example on a real model: texts of many callers are embedded together.

The packages come from the package index; without it there is nothing to test, and the test says so.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY

if TYPE_CHECKING:
    from conftest import Server

EXAMPLE = REPOSITORY / "examples" / "embed_batches.py"
ALIKE = ("a cat asleep on the sofa", "a kitten naps on a couch")
OTHER = "the quarterly tax report is due"


def likeness(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b))


@pytest.fixture
def deployed(server: Server) -> Server:
    server.cli("deploy", EXAMPLE)
    return server


def test_texts_are_embedded_alone_and_together(deployed: Server) -> None:
    def embed(text: str) -> list[float]:
        return deployed.result("embed-batches", "Embedder.embed", text=text)

    alone = {text: embed(text) for text in (*ALIKE, OTHER)}
    assert all(len(vector) == 384 for vector in alone.values())
    assert likeness(alone[ALIKE[0]], alone[ALIKE[1]]) > 0.5
    assert likeness(alone[ALIKE[0]], alone[OTHER]) < 0.3
    texts = [*ALIKE, OTHER] * 8
    with ThreadPoolExecutor(len(texts)) as callers:
        together = list(callers.map(embed, texts))
    for text, vector in zip(texts, together):
        assert likeness(vector, alone[text]) > 0.95  # of 8 bits a neighbour costs the last digits
    sizes = re.findall(r"a batch of (\d+)", deployed.cli("logs", "embed-batches").stdout)
    assert sum(map(int, sizes)) == len(texts) + 3
    assert max(map(int, sizes)) > 1
    deployed.cli("app", "stop", "embed-batches")


def test_the_example_runs_as_it_says(deployed: Server) -> None:
    done = deployed.cli("run", EXAMPLE, *ALIKE, OTHER)
    near, *far = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert near > max(far)
    deployed.cli("app", "stop", "embed-batches")
