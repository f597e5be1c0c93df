"""The shipped price book keeps the rules of docs/reference/prices.md."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BOOK = json.loads((REPOSITORY / "data" / "prices.json").read_text())
PRICES: list[dict[str, Any]] = BOOK["prices"]
GPU_TYPES = set(re.findall(r'GpuType\{"([^"]+)"', (REPOSITORY / "src/model/gpu.cc").read_text()))
TEXT = ("provider", "sku", "meter", "kind", "usd", "valid_from", "source", "fetched_at")
NO_ADDRESS = ("guide: Why Serverless GPU Changes Everything for AI Teams", "Ember")
OPTIONAL = {"gpu", "region", "count", "note", "assumed"}


def offer(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("provider", "sku", "region", "meter", "gpu", "count", "kind", "valid_from")
    return tuple(row.get(name) for name in names)


def named(row: dict[str, Any]) -> str:
    return f"{row['provider']}-{row.get('gpu', row['meter'])}-{row['sku']}-{row['kind']}"


@pytest.mark.parametrize("row", PRICES, ids=named)
def test_each_row_is_whole_and_sourced(row: dict[str, Any]) -> None:
    assert set(row) - OPTIONAL == set(TEXT)
    assert all(isinstance(row[name], str) and row[name] for name in TEXT)
    assert row["kind"] in {"serverless", "on_demand", "spot", "reserved"}
    assert re.fullmatch(r"\d+(\.\d{1,9})?", row["usd"]), "money is decimal text, never a float"
    assert float(row["usd"]) > 0 or row["meter"] == "egress"
    for day in ("valid_from", "fetched_at"):
        assert datetime.date.fromisoformat(row[day]).isoformat() == row[day]
    assert row["source"].startswith("https://") or row["source"].startswith(NO_ADDRESS)
    assert (row["meter"] == "gpu") == ("gpu" in row)
    assert row.get("gpu", "L4") in GPU_TYPES
    assert row.get("count", 1) >= 1


def test_no_offer_stands_twice_on_one_day() -> None:
    offers = [offer(row) for row in PRICES]
    assert len(offers) == len(set(offers))


def test_every_meter_and_gpu_type_has_a_local_rate_marked_as_assumed() -> None:
    local = [row for row in PRICES if row["provider"] == "local"]
    assert {row["gpu"] for row in local if row["meter"] == "gpu"} == GPU_TYPES
    assert {row["meter"] for row in local} == {"gpu", "cpu", "memory", "disk", "egress"}
    assert all(row["assumed"] and row["note"].startswith("assumed") for row in local)


def test_the_guides_figures_are_all_there() -> None:
    guide = {(row["provider"], row["gpu"]): row["usd"] for row in PRICES if row["sku"] == "guide"}
    assert guide == {
        ("modal", "L4"): "0.55",
        ("modal", "A10G"): "1.97",
        ("modal", "A100-40GB"): "4.45",
        ("modal", "H100"): "6.95",
        ("baseten", "A10G"): "1.85",
        ("baseten", "A100-80GB"): "4.90",
        ("baseten", "H100"): "7.20",
        ("runpod", "A10G"): "1.40",
        ("runpod", "A100-80GB"): "3.80",
        ("runpod", "H100"): "5.50",
        ("beam", "A10G"): "1.70",
        ("beam", "A100-40GB"): "4.10",
        ("aws", "A100-40GB"): "3.67",
    }
    (markup,) = BOOK["markups"]
    assert (markup["provider"], markup["low_percent"], markup["high_percent"]) == (
        "replicate", 20, 40,
    )  # fmt: skip
