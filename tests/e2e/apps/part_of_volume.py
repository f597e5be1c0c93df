"""A directory of a volume, and a version of it."""

import os

import ember

NAME = os.environ.get("VOLUME", "shelf")
VERSION = int(os.environ.get("VOLUME_VERSION", "1"))
app = ember.App(os.environ.get("VOLUME_APP", "part-of-volume"))
part = ember.Volume.from_name(NAME).with_mount_options(sub_path="models/small")
pinned = ember.Volume.from_name(NAME, version=VERSION)
env = {"VOLUME": NAME, "VOLUME_VERSION": str(VERSION)}


def _names(root: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(parent, name), root)
        for parent, _, files in os.walk(root)
        for name in files
    )


@app.function(volumes={"/models": part}, env=env)
def inside(write: str = "") -> list[str]:
    if write:
        with open(f"/models/{write}", "w") as file:
            file.write(write)
        part.commit()
    return _names("/models")


@app.function(volumes={"/srv/old": pinned}, env=env)
def old() -> list[str]:
    return _names("/srv/old")
