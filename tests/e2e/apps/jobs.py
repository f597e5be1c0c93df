"""Jobs that leave checkpoints and say how far they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import ember

app = ember.App("jobs")
work = Path("/tmp/work")


@app.function(checkpoints=True, retries=ember.Retries(3, initial_delay_s=0.1))
def fails_twice() -> list[str]:
    """What each attempt has found of the one before, a directory with all of it."""
    seen = []
    newest = ember.latest_checkpoint()
    if newest:
        seen = (Path(newest) / "inside" / "seen").read_text().splitlines()
    seen.append(f"{os.path.basename(newest or 'nothing')}")
    (work / "inside").mkdir(parents=True, exist_ok=True)
    (work / "inside" / "seen").write_text("\n".join(seen))
    (work / "empty").mkdir(exist_ok=True)
    if len(seen) < 3:
        ember.checkpoint(work)
        raise RuntimeError("not yet")
    return seen


@app.function(checkpoints=True, max_containers=1)
def keeps_one(times: int) -> list[str]:
    """What is there for this call after so many checkpoints."""
    for number in range(times):
        Path("/tmp/state").write_text(str(number))
        ember.checkpoint("/tmp/state")
    newest = ember.latest_checkpoint()
    assert newest is not None
    place = Path(newest).parents[1]
    return [*sorted(one.name[:9] for one in place.iterdir()), Path(newest).read_text()]


@app.function(checkpoints=True, max_containers=1)
def ignores_the_broken() -> str:
    Path("/tmp/state").write_text("whole")
    ember.checkpoint("/tmp/state")
    newest = ember.latest_checkpoint()
    assert newest is not None
    place = Path(newest).parents[1]
    broken = place / "00000009-ffffffff"
    broken.mkdir()
    (broken / "state").write_text("half")
    (place / "00000009-ffffffff.json").write_text('{"state": 99}')
    (place / ".00000010-ffffffff").mkdir()
    found = ember.latest_checkpoint()
    assert found is not None
    return Path(found).read_text()


@app.function(checkpoints=True, max_containers=1)
def dies(good: bool = False) -> str:
    newest = ember.latest_checkpoint()
    if newest:
        return Path(newest).read_text()
    Path("/tmp/state").write_text("of the first call")
    ember.checkpoint("/tmp/state")
    raise RuntimeError("for good")


@app.function()
def has_none() -> None:
    ember.checkpoint("/etc/hostname")


@app.function()
def tells(steps: int, seconds: float = 0.0) -> int:
    for step in range(steps):
        ember.progress(step=step + 1, total=steps, metrics={"loss": 1 / (step + 1)})
        time.sleep(seconds)
    return steps


@app.function()
def tells_and_waits() -> None:
    ember.progress(step=1, total=4, metrics={"loss": 0.5})
    ember.progress(step=2, total=4, metrics={"loss": 0.25})
    time.sleep(60)


@app.function()
async def tells_async(steps: int) -> int:
    for step in range(steps):
        ember.progress(step=step + 1, total=steps)
    return steps


@app.function()
@ember.concurrent(max_inputs=4)
def tells_from_a_thread(steps: int) -> int:
    for step in range(steps):
        ember.progress(step=step + 1)
    return steps
