"""Imports of siblings, relative and absolute, and data beside the code."""

from pathlib import Path

import ember

from siblings_app.helper import double

from . import constants

app = ember.App("siblings")


@app.function()
def f(x: int) -> str:
    unit = (Path(__file__).parent / "unit.txt").read_text().strip()
    return f"{double(x) + constants.OFFSET} {unit}"
