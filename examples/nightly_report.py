"""A report that is written each morning at six, in Berlin.

ember deploy examples/nightly_report.py
ember schedule list
ember schedule run nightly-report.report   # now, without waiting for the morning
"""

from __future__ import annotations

import datetime

import ember

app = ember.App("nightly-report")

# Where the orders of a day come from is your affair: a database, a file of a volume, an API.
ORDERS = [("lamp oil", 12.50), ("storm lantern", 39.00), ("wick, cotton", 13.00)]


@app.function(
    schedule=ember.Cron("0 6 * * *", timezone="Europe/Berlin", missed="run_once"),
    retries=ember.Retries(3, initial_delay_s=60.0),
    timeout=600,
)
def report(day: str = "") -> str:
    """Adds a day up; yesterday, unless it is told another."""
    yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1)
    total = sum(price for _, price in ORDERS)
    text = f"{day or yesterday}: {len(ORDERS)} orders, {total:.2f} EUR"
    print(text)
    return text
