"""The example on real input: a real model reads the words of real image files.

The packages come from the package index; without it there is nothing to test, and the test says so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY, wait_until

if TYPE_CHECKING:
    from conftest import Server

DATA = REPOSITORY / "examples" / "data"
INVOICE_WORDS = ("INVOICE", "Northwind Lanterns Ltd", "Number 2026-0417", "Storm lantern, brass",
                 "312.00", "178.80", "Total EUR", "526.80")  # fmt: skip
PAGE_WORDS = ("Keeper's log", "The lamp was lit at dusk and burned", "Two ships passed",
              "Oil remaining", "31", "Relief boat expected Thursday.")  # fmt: skip


def read(server: Server, name: str) -> dict[str, Any]:
    return server.json("call", "read-documents.read", DATA / name)


@pytest.fixture
def deployed(server: Server) -> Server:
    words = ("deploy", REPOSITORY / "examples" / "read_documents.py")
    server.cli(*words)
    return server


def test_reads_an_invoice_and_a_photographed_page_in_parallel(deployed: Server) -> None:
    with ThreadPoolExecutor() as pool:
        invoice, page = pool.map(lambda name: read(deployed, name), ("invoice.png", "page.jpg"))
    assert [word for word in INVOICE_WORDS if word not in invoice["result"]["text"]] == []
    assert [word for word in PAGE_WORDS if word not in page["result"]["text"]] == []
    for line in invoice["result"]["lines"] + page["result"]["lines"]:
        assert set(line) == {"text", "score", "corners"}
        assert 0.5 < line["score"] <= 1
        assert [len(corner) for corner in line["corners"]] == [2, 2, 2, 2]
    assert invoice["cold"] and page["cold"]
    assert invoice["cost"]["simulated"], "an L4 of this server is a simulated one"

    again = read(deployed, "invoice.png")
    assert not again["cold"]
    assert again["result"] == invoice["result"]
    wait_until(
        "scaled to zero after the window",
        lambda: not deployed.containers("read-documents"),
    )


def test_a_file_that_is_no_image_fails_in_user_code_and_leaves_the_function_well(
    deployed: Server, tmp_path: Any
) -> None:
    (tmp_path / "note.txt").write_text("not an image")
    deployed.cli("call", "read-documents.read", tmp_path / "note.txt", status=1)
    assert "INVOICE" in read(deployed, "invoice.png")["result"]["text"]
