"""The ledger in the store, held against the containers' lives as the node told them.

Each life is covered from the millisecond that it began in to the one that it ended in, without gap
or overlap, for every meter that the container held; each row costs what its price says; and what
`ember cost` adds up to is reckoned here anew, from the lives alone.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from kills.lives import TICK_US, Life
from kills.records import id_text, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PER_PRICE = {"gpu": 1, "cpu": 1000, "memory": 1 << 30}  # units that the price is for
_MS_PER_HOUR = 3_600_000


@dataclass
class Bill:
    """What was found, and how much there was to look at."""

    findings: list[str] = field(default_factory=list)
    containers: int = 0
    rows: int = 0
    lived_ms: int = 0
    billed_ms: int = 0  # by the meter of CPU, which every container has
    kernel_lived_ms: int = (
        0  # of the first processes, by the kernel's word: less, as they boot later
    )
    ends_not_seen: int = 0  # by the witness: the store's word alone
    never_ran: int = 0  # refused before their first process

    def wrong(self, container: str, what: str) -> None:
        self.findings.append(f"{container}: {what}")


@dataclass
class _Account:
    """A container's row of the store and its rows of the ledger."""

    container: str
    function: str
    started_us: int
    ended_us: int
    rows: list[sqlite3.Row] = field(default_factory=list)


def check(data: Path, lives: dict[str, Life], cost: dict[str, Any]) -> Bill:
    """Looks at the store of a server that is down; `cost` is what it last told of all apps."""
    bill = Bill()
    accounts = dict(_accounts_of(data, bill))
    bill.containers = len(accounts)
    bill.rows = sum(len(account.rows) for account in accounts.values())
    for account in accounts.values():
        _check_life(account, lives.get(account.container), bill)
        _check_windows(account, bill)
        _check_amounts(account, bill)
    for life in lives.values():
        if life.container in accounts or not life.started_us:  # or the node's try of itself
            continue
        if life.pid:
            bill.wrong(life.container, f"it ran, and is not in the store: {life}")
        else:
            bill.never_ran += 1
    _check_cost(accounts, lives, cost, bill)
    return bill


def _accounts_of(data: Path, bill: Bill) -> Iterator[tuple[str, _Account]]:
    rows = defaultdict[str, list[sqlite3.Row]](list)
    for row in records_of(data, "SELECT * FROM ledger ORDER BY container, window_start_us"):
        rows[id_text("ct-", row["container"])].append(row)
    for row in records_of(data, "SELECT * FROM containers"):
        name = id_text("ct-", row["id"])
        told = (row["function"], row["started_us"], row["ended_us"], rows.pop(name, []))
        yield name, _Account(name, *told)
    for name in rows:
        bill.wrong(name, "it is in the ledger, and not among the containers")


def _check_life(account: _Account, life: Life | None, bill: Bill) -> None:
    if account.ended_us == 0:
        return bill.wrong(account.container, "it has no end")
    if life is None or not life.started_us:
        return bill.wrong(account.container, "nobody saw it begin")
    bill.kernel_lived_ms += max(0, life.process_ended_us - life.process_began_us) // 1000
    if life.process_began_us and life.process_began_us + TICK_US < account.started_us:
        bill.wrong(
            account.container, f"it ran before its bill begins at {account.started_us}: {life}"
        )
    if life.started_us != account.started_us:
        bill.wrong(account.container, f"it is said to begin at {account.started_us}: {life}")
    if not life.ended_us:
        bill.ends_not_seen += 1
    elif life.ended_us != account.ended_us:
        bill.wrong(account.container, f"it is said to end at {account.ended_us}: {life}")
    return None


def _floor_ms(us: int) -> int:
    return us // 1000


def _life_ms(account: _Account) -> int:
    return _floor_ms(account.ended_us) - _floor_ms(account.started_us)


def _check_windows(account: _Account, bill: Bill) -> None:
    """The windows tile the life, and over its phases each window is billed once, by every meter."""
    billed: dict[tuple[int, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in account.rows:
        if row["meter"] != "egress":
            window = (row["window_start_us"], row["window_end_us"])
            billed[window][row["meter"]] += row["quantity"]
    covered_us = _floor_ms(account.started_us) * 1000
    meters = {meter for window in billed.values() for meter in window}
    if billed and not {"cpu", "memory"} <= meters:
        bill.wrong(account.container, f"it was billed for {sorted(meters)} alone")
    for (start_us, end_us), quantities in sorted(billed.items()):
        if start_us != covered_us:
            bill.wrong(account.container, f"{start_us - covered_us} us between two windows")
        covered_us = end_us
        for meter in meters:
            if quantities[meter] * 1000 != end_us - start_us:
                told = f"{quantities[meter]} ms of {meter} in a window of {end_us - start_us} us"
                bill.wrong(account.container, told)
    missing_us = _floor_ms(account.ended_us) * 1000 - covered_us
    if missing_us:
        bill.wrong(account.container, f"{missing_us} us between the last window and its end")
    bill.lived_ms += _life_ms(account)
    bill.billed_ms += sum(quantities["cpu"] for quantities in billed.values())


def _check_amounts(account: _Account, bill: Bill) -> None:
    for row in account.rows:
        if row["meter"] == "egress":
            exact = Fraction(row["price_nano_usd_per_hour"] * row["quantity"], 1_000_000_000)
        else:
            used = Fraction(row["quantity"] * row["units"], _PER_PRICE[row["meter"]])
            exact = used * row["price_nano_usd_per_hour"] / _MS_PER_HOUR
        if round(exact) != row["amount_nano_usd"]:  # half to even, as the ledger does
            bill.wrong(account.container, f"{dict(row)} is not {float(exact)}")


def _check_cost(
    accounts: dict[str, _Account], lives: dict[str, Life], cost: dict[str, Any], bill: Bill
) -> None:
    """What the command line says all of it cost, against lives times what each held."""
    lived = {name: _life_ms(account) for name, account in accounts.items()}
    held = [(lived[name], lives[name]) for name in accounts if name in lives]
    expected = {
        "cpu_millicore_ms": sum(ms * life.cpu_millicores for ms, life in held),
        "gpu_ms": sum(ms * life.devices for ms, life in held),
        "egress_bytes": sum(life.egress_bytes for _, life in held),
    }
    for name, value in expected.items():
        told = sum(row[name] for row in cost["rows"])
        may_be_more = name == "egress_bytes" and bill.ends_not_seen > 0
        if told < value or (told > value and not may_be_more):
            bill.findings.append(f"ember cost tells {told} of {name}, the lives make it {value}")
    total = sum(row["amount_nano_usd"] for one in accounts.values() for row in one.rows)
    if Decimal(cost["total_usd"]) * 1_000_000_000 != total:
        bill.findings.append(
            f"ember cost tells ${cost['total_usd']}, the ledger {total} nano-dollars"
        )
