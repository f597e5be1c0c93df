"""Real kills under real load, and what must hold after each: `drill.py` joins the parts.

schedule.py   which process is killed when, from a seed
load.py       callers in threads, who make calls of all kinds
sent.py       single calls: with a result, and with a stream of items
jobs.py       calls for later and maps, and what the store says of them
told.py       a receiver of webhooks
ticks.py      schedules: each tick once
ends.py       how calls may end where something is killed
lives.py      a witness of the containers' lives, beside Ember's own accounts
bill.py       the ledger in the store, held against those lives
records.py    the store's rows and ids
"""
