"""Functions that read and write volumes; the volume's name comes by the environment."""

import os

import ember

NAME = os.environ.get("VOLUME", "shelf")
app = ember.App(os.environ.get("VOLUME_APP", "keeps-files"))
volume = ember.Volume.from_name(NAME, create_if_missing=True)
mounted = {"/data/shelf": volume}
env = {"VOLUME": NAME}


def _tree(root: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for parent, directories, files in os.walk(root):
        for name in directories:
            found[os.path.relpath(os.path.join(parent, name), root)] = None
        for name in files:
            path = os.path.join(parent, name)
            with open(path, errors="replace") as file:
                found[os.path.relpath(path, root)] = file.read(100)
    return found


def _write(files: dict[str, str]) -> None:
    for path, text in files.items():
        place = os.path.join("/data/shelf", path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w") as file:
            file.write(text)


@app.function(volumes=mounted, env=env)
def tree() -> dict[str, str | None]:
    return _tree("/data/shelf")


@app.function(volumes=mounted, env=env)
def write(files: dict[str, str], commit: bool = True) -> int:
    _write(files)
    return volume.commit() if commit else 0


@app.function(volumes=mounted, env=env)
def other(files: dict[str, str], commit: bool = True) -> int:
    _write(files)
    return volume.commit() if commit else 0


@app.function(volumes=mounted, env=env)
async def write_async(files: dict[str, str]) -> int:
    _write(files)
    return await volume.commit.aio()


@app.function(volumes=mounted, env=env)
def run(script: str, commit: bool = True) -> str:
    import subprocess

    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd="/data/shelf", capture_output=True, text=True
    )
    if commit:
        volume.commit()
    return done.stdout + done.stderr


@app.function(volumes=mounted, env=env, scaledown_window=0.5)
def write_and_go(files: dict[str, str]) -> None:
    _write(files)


@app.function(volumes={"/data/shelf": volume.read_only()}, env=env)
def read_only(script: str) -> str:
    import subprocess

    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd="/data/shelf", capture_output=True, text=True
    )
    return done.stdout + done.stderr


@app.function(volumes=mounted, env=env)
def reload() -> dict[str, str | None]:
    volume.reload()
    return _tree("/data/shelf")


@app.function(volumes=mounted, env=env)
def reload_with_open_file(name: str) -> str:
    with open(os.path.join("/data/shelf", name)):
        try:
            volume.reload()
        except ember.exception.ConflictError as error:
            return str(error)
    return "reloaded"
