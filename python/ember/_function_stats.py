"""What `get_current_stats()` gives; apart, since a named tuple's imports would slow each start."""

from __future__ import annotations

from typing import NamedTuple


class FunctionStats(NamedTuple):
    """What a function has to do, and with what."""

    backlog: int  # inputs that wait, those that are to be tried again too
    num_total_runners: int  # containers that take inputs
    num_running_inputs: int
    input_headroom: int  # that these could take at once beside those that run
