"""How the command line reads words as arguments, and puts values into words."""

from __future__ import annotations

import argparse
import io
import time

import pytest

from ember.cli import _key, _logs, _report, _terminal
from ember.cli._arguments import Parameter, bind, usage
from ember.cli._exit import CommandError

PARAMETERS = [
    Parameter("count", "positional_or_keyword", "int", True),
    Parameter("loud", "positional_or_keyword", "bool", False),
    Parameter("file_name", "keyword_only", "str", False),
]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["3"], {"count": 3}),
        (["-3"], {"count": -3}),
        (["3", "--loud"], {"count": 3, "loud": True}),
        (["3", "yes"], {"count": 3, "loud": True}),
        (["--count=3", "--no-loud"], {"count": 3, "loud": False}),
        (["--file-name", "--x", "3"], {"count": 3, "file_name": "--x"}),
        (["--", "3"], {"count": 3}),
    ],
)
def test_words_become_arguments(words: list[str], named: dict[str, object]) -> None:
    assert bind("f", words, PARAMETERS) == ([], named)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "f needs count"),
        (["x"], "count: 'x' is not an integer"),
        (["3", "maybe"], "loud: 'maybe' is neither true nor false"),
        (["3", "--count", "4"], "loud: '3' is neither true nor false"),
        (["3", "yes", "4"], "f has no place for '4'"),
        (["--count"], "--count needs a value"),
        (["--count", "1", "--count", "2"], "count is given twice"),
        (["--tone", "2"], "f has no parameter 'tone'"),
    ],
)
def test_words_that_do_not_fit_say_why(words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why.replace("(", r"\(")) as caught:
        bind("f", words, PARAMETERS)
    assert caught.value.next_step == f"give {usage('f', PARAMETERS)}"


def test_what_is_left_over_goes_to_the_star() -> None:
    star = [*PARAMETERS[:2], Parameter("rest", "args", "any", False)]
    assert bind("f", ["1", "no", '{"a": 1}', "x"], star) == ([1, False, {"a": 1}, "x"], {})


def test_sums_of_money_are_exact() -> None:
    assert _report.plus("0.1", "0.2") == "0.300000000"
    assert _report.plus("1", "-0.000000001") == "0.999999999"
    assert _report.plus("0.5", "-1.5") == "-1.000000000"


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.0005, "500 µs"), (0.0012, "1.2 ms"), (0.25, "250 ms"), (1.5, "1.50 s"),
     (200, "3 min 20 s"), (7300, "2 h 1 min"), (3 * 86400, "3 d 0 h")],
)  # fmt: skip
def test_durations_in_words(value_s: float, text: str) -> None:
    assert _terminal.seconds(value_s) == text


def test_tables_fit_a_terminal_and_are_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [{"id": "ct-0123456789abc", "why": "because " * 30, "n": 7}]
    _terminal.table(rows, ["id", "why", "n"], right=["n"], cut_column="why")
    assert ("because " * 30).strip() in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    _terminal.table(rows, ["id", "why", "n"], right=["n"], cut_column="why")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("ct-0123456789abc  because")
    assert lines[1].endswith("  7")


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


HOSTILE = [
    ("plain", "plain"),
    ("é 漢 👩\u200d🚀 a\tb", "é 漢 👩\u200d🚀 a\tb"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b[2J\x1b[Hgone", "gone"),
    ("\x1b[?1049hfull\x1b[6n", "full"),
    ("\x1b]0;a title\x07seen", "seen"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1bP1;2|rm\x1b\\after", "after"),
    ("\x1b]52;c;cm0=", ""),
    ("\x1bcreset\x1b7\x1b(0x", "resetx"),
    ("cut \x1b[3", "cut "),
    ("cut \x1b", "cut "),
    ("\x9b31mC1", "\\u009b31mC1"),
    ("nul\x00bell\x07del\x7fback\x08", "nul\\u0000bell\\u0007del\\u007fback\\u0008"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\r 10%|#\r 20%|##", " 20%|##"),
    (" 30%\r", " 30%"),
    ("dos\r", "dos"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_text_of_strangers_plays_no_games(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert _terminal.harmless(text, io.StringIO()) == shown
    on_terminal = _terminal.harmless(text, FakeTerminal())
    assert on_terminal.replace("\x1b[31m", "").replace("\x1b[0m", "") == shown


def test_colours_of_strangers_stay_on_a_terminal_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = "\x1b[1;38;5;9mred"
    assert _terminal.harmless(text, FakeTerminal()) == text + "\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert _terminal.harmless(text, FakeTerminal()) == "red"


def test_what_stands_for_lines_that_a_slow_client_missed_says_so() -> None:
    line = {"stream": "system", "log_lines_dropped": 7, "text": "7 lines were left out here"}
    assert _logs.tagged(line, io.StringIO()) == ["7 lines were left out here"]


def test_a_log_line_is_tagged_and_says_its_text_alone() -> None:
    line = {"at_ms": 0, "function": "f", "stream": "stdout", "text": "a\x0bb\x1b[H\n\u2028c"}
    texts = [text.split(" ", 2)[1:] for text in _logs.tagged(line, io.StringIO())]
    assert texts == [["f", "a\\u000bb"], ["f", "\\u2028c"]]


def test_a_time_of_logs_is_so_long_ago_or_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.5)
    assert _logs.when_ms("--since", None) is None
    assert _logs.when_ms("--since", "90s") == 999_910_500
    assert _logs.when_ms("--since", "10m") == 999_400_500
    assert _logs.when_ms("--since", "1d") == 913_600_500
    assert _logs.when_ms("--since", "999999d") == 0
    assert _logs.when_ms("--since", "1970-01-01T00:00:01.500Z") == 1_500
    assert _logs.when_ms("--since", "1970-01-01T01:00:02+01:00") == 2_000
    for none in ("", "10", "m", "-1m", "1.5h", "yesterday", "\u00b2m"):
        with pytest.raises(CommandError, match="is no time"):
            _logs.when_ms("--since", none)


def test_how_long_a_key_opens_is_told_with_a_unit() -> None:
    assert _key.lifetime_ms("30d") == 30 * 86_400_000
    assert [_key.lifetime_ms(f"2{unit}") for unit in "smh"] == [2_000, 120_000, 7_200_000]
    for text in ("", "d", "30", "0d", "-1d", "1.5h", "1w", "\u0663d"):
        with pytest.raises(argparse.ArgumentTypeError):
            _key.lifetime_ms(text)
