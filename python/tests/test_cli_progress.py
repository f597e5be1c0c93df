"""How far a call says it is, as the command line shows it."""

from __future__ import annotations

import io

import pytest

from ember._watching import progress_line, status_line
from ember.cli import _call_progress, _terminal


class Screen(io.StringIO):
    """A terminal, as far as writing goes."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What stands there, each line as it was written last."""
        text = self.getvalue().replace("\r\x1b[2K", "\x00")
        return [line.rpartition("\x00")[2] for line in text.split("\n")]


def screen_of(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """From here on stderr is one."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    return screen


def told(**progress: object) -> dict[str, object]:
    return {"step": None, "total": None, "metrics": {}, "at_ms": 1, **progress}


@pytest.mark.parametrize(
    ("progress", "done", "line"),
    [
        (None, "", ""),
        (told(), "", ""),
        (told(step=3), "3", "step 3"),
        (told(step=120, total=1000), "12 %", "step 120/1000, 12 %"),
        (told(step=0, total=0), "0", "step 0/0"),
        (told(metrics={"loss": 0.123456789, "nan": None}), "", "loss 0.123457, nan -"),
        (told(step=1.5, total=3, metrics={"loss": 2}), "50 %", "step 1.5/3, 50 %, loss 2"),
    ],
)
def test_it_is_told_in_a_word_and_in_a_line(
    progress: dict[str, object] | None, done: str, line: str
) -> None:
    assert _call_progress.done({"state": "running", "progress": progress}) == done
    assert _call_progress.done({"state": "succeeded", "progress": progress}) == ""
    assert progress_line(progress) == line


@pytest.mark.parametrize(
    ("left_ms", "passed_s", "line"),
    [
        (None, 5, "no node"),
        (12_400, 0, "no node, about 12 s left"),
        (12_400, 5, "no node, about 7 s left"),
        (200_000, 0, "no node, about 3 min 20 s left"),
        (1000, 0.5, "no node, any moment now"),
    ],
)
def test_the_time_left_goes_down_while_nothing_new_is_told(
    left_ms: int | None, passed_s: float, line: str
) -> None:
    status = {"phase": "starting", "ahead": 1, "left_ms": left_ms, "reason": "no node"}
    assert status_line(status, passed_s) == line


def test_a_line_stays_below_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    _terminal.live("step 1/3")
    _terminal.say("a word")
    _terminal.live("step 2/3")
    _terminal.say("another")
    assert screen.lines == ["a word", "another", "step 2/3"]
    _terminal.live("")
    assert screen.lines == ["a word", "another", ""]


def test_a_line_is_no_longer_than_the_terminal_is_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    _terminal.live("x" * 200)
    assert 0 < len(screen.lines[-1]) <= 59
    _terminal.live("")


def test_a_pipe_has_no_such_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    _terminal.live("step 1/3")
    _terminal.say("a word")
    assert pipe.getvalue() == "a word\n"
