"""The example of a large map: ten thousand inputs over fifty containers, and the right answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

EXAMPLE = REPOSITORY / "examples" / "many_inputs.py"


@pytest.fixture
def roomy() -> Iterator[Server]:
    """A server of its own: fifty containers are room that other tests need."""
    with running_server() as server:
        yield server


def test_ten_thousand_inputs_are_done_once_each_by_fifty_containers(roomy: Server) -> None:
    done = roomy.cli("run", EXAMPLE)
    assert "10000 inputs by 50 containers" in done.stdout
    found = re.search(r"geometric mean: (\S+) \+- (\S+), exactly (\S+)", done.stdout)
    assert found is not None, done
    mean, error, exact = map(float, found.groups())
    assert abs(mean - exact) < 4 * error, "of seeds, so it is so each time or never"
