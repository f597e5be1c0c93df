"""A module that cannot be imported, which is found out once its secrets are there."""

import os

import ember

app = ember.App("breaks-with-secrets")


@app.function(secrets=[ember.Secret.from_name("canary")])
def never() -> None:
    pass


if not ember.is_local():
    raise RuntimeError(f"no use for {len(os.environ['BY_NAME'])} characters")
