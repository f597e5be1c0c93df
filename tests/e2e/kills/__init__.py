"""Real kills under real load, and what must hold after each: `drill.py` joins the parts.

schedule.py   which process is killed when, from a seed
load.py       callers in threads: what each call was and how it ended
lives.py      a witness of the containers' lives, beside Ember's own accounts
bill.py       the ledger in the store, held against those lives
"""
