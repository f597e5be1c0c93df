"""The example of a pipeline: images through processors and a GPU, and the tree of the calls.

The packages come from the package index; without it there is nothing to test, and the test says so.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

EXAMPLE = REPOSITORY / "examples" / "image_pipeline.py"
FILES = [REPOSITORY / "examples" / "data" / name for name in ("invoice.png", "page.jpg")]


def size_of(png: bytes) -> tuple[int, ...]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def sheet(server: Server, into: Path) -> str:
    """What the example prints."""
    return server.cli("run", EXAMPLE, *FILES, "--into", into).stdout


def test_images_become_a_sheet_by_functions_that_call_functions(
    server: Server, tmp_path: Path
) -> None:
    said = sheet(server, tmp_path / "sheet.png")
    assert size_of((tmp_path / "sheet.png").read_bytes()) == (720, 460)
    found = re.search(r"sheet\.png: 2 pictures\nember call graph (fc-\w+)\n", said)
    assert found is not None, said
    tree = server.json("call", "graph", found[1])["call"]
    children = sorted(child["function"] for child in tree["children"])
    assert children == ["Reader.read"] * 2 + ["arrange"] + ["label"] * 2 + ["prepare"] * 2
    assert {child["state"] for child in tree["children"]} == {"succeeded"}
    drawn = server.cli("call", "graph", found[1]).stdout
    assert len(re.findall(r"image-pipeline\S*\.label ", drawn)) == 2
    assert "8 calls, $" in drawn
    read = next(child for child in tree["children"] if child["function"] == "Reader.read")
    cost = server.http("GET", f"/api/v1/calls/{read['call_id']}/cost").document
    assert (cost["gpu"], cost["simulated"]) == ("L4 (simulated)", True)
