"""Deployed again and again under load; the test writes the version into it."""

import ember

app = ember.App("versions")

VERSION = 1


@app.function(max_containers=2)
def version() -> int:
    return VERSION
