"""`with ember.enable_output():` in scripts: a line while a call waits, and none afterwards."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import ember
from ember import _context, _live_line

WAITS = {"phase": "starting", "ahead": 2, "left_ms": 9000, "reason": "waits for a start"}
RUNS = {"phase": "running", "ahead": 0, "left_ms": None, "reason": "runs"}


class Screen(io.StringIO):
    """A terminal on which the test waits for what is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self._come = threading.Condition()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._come:
            written = super().write(text)
            self._come.notify_all()
        return written

    def wait_for(self, text: str) -> None:
        with self._come:
            assert self._come.wait_for(lambda: text in self.getvalue(), 30), self.getvalue()


def screen_of(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """From here on stderr is one."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(_live_line, "_REDRAW_S", 0.005)
    return screen


def watcher() -> Any:
    assert _context.watch_calls is not None
    return _context.watch_calls("app.f")


def test_a_call_that_waits_has_a_line_until_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    with ember.enable_output():
        call = watcher()
        call.on_status(WAITS)
        screen.wait_for("app.f waits for a start, about 9 s left")
        call.on_status(RUNS)
        assert screen.getvalue().endswith("\r\x1b[K")
        call.on_progress({"step": 1, "total": 4, "metrics": {}, "at_ms": 1})
        screen.wait_for("app.f: step 1/4, 25 %")
        call.on_end()
        call.on_end()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_one_line_is_shown_at_a_time_and_the_next_call_has_it_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    with ember.enable_output():
        first, second = watcher(), watcher()
        first.on_status(WAITS)
        second.on_status(WAITS)
        second.on_end()
        screen.wait_for("about 9 s left")
        first.on_end()
        second.on_status({**WAITS, "reason": "waits again"})
        screen.wait_for("waits again")
        second.on_end()


def test_nothing_watches_outside_or_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with ember.enable_output():
        assert _context.watch_calls is None
        assert not _context.progress_by_default
    monkeypatch.setattr("sys.stderr", Screen())
    with ember.enable_output():
        assert _context.progress_by_default
    assert _context.watch_calls is None
    assert not _context.progress_by_default
