"""The lines of a deploy: one tick with its time for each thing that is made."""

from __future__ import annotations

import time

from . import _terminal

_WORDS = {
    "image": "image",
    "source": "source",
    "upload": "uploaded",
    "deploy": "version of",
    "push": "pushed",
}


class Progress:
    """Told of each stage as it begins; its tick is written when the next one begins."""

    def __init__(self, at_least_s: float = 0.0) -> None:
        """Write no tick for what took less."""
        self._at_least_s = at_least_s
        self._stage = ""
        self._began_s = 0.0
        self._remark = ""  # written under the stage's tick

    def __call__(self, stage: str, line: str) -> None:
        """Take note of a stage (see ember._deploy) or of a line about the one that runs."""
        if stage == "image_line":
            elapsed_s = time.monotonic() - self._began_s
            _terminal.say(_terminal.style(f"  {elapsed_s:6.1f} s  {line}", "dim"))
            return
        if stage == "rollout":
            _terminal.say(_terminal.style(f"  the version before serves; {line}", "dim"))
            return
        if stage == "left_out":
            self._remark = _terminal.field("left out", line)
            return
        self.finish()
        self._stage = f"{_WORDS.get(stage, stage)} {line}"
        self._began_s = time.monotonic()

    def finish(self, instead: str = "") -> None:
        """Tick what was begun last, in other words where these are better."""
        took_s = time.monotonic() - self._began_s
        if self._stage and took_s >= self._at_least_s:
            _terminal.tick(instead or self._stage, took_s)
            if self._remark:
                _terminal.say(self._remark)
        self._stage = self._remark = ""
