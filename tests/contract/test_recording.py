"""The README's recording is the output of its tool for the recorded session, and shows the README's own commands."""

import json

from documents import ROOT
from tools import record_terminal

RECORDING = ROOT / "docs/recording"
CAST = RECORDING / "quick-start.cast"
PICTURE = RECORDING / "quick-start.svg"


def rows():
    return [json.loads(line) for line in CAST.read_text().splitlines()]


def test_the_picture_is_drawn_from_the_recording():
    assert PICTURE.read_text() == record_terminal.svg(rows())
    assert PICTURE.stat().st_size < 100_000


def test_the_recording_is_of_its_session():
    screen = record_terminal.Screen(record_terminal.COLUMNS, 200)
    for _, kind, text in rows()[1:]:
        if kind == "o":
            screen.feed(text)
    said = "".join("".join(character for character, _ in line) for line in screen.lines)
    session = (RECORDING / "quick-start.txt").read_text().splitlines()
    typed = [line for line in session if line and not line.startswith("#")]
    assert len(typed) >= 6
    for line in typed:
        assert f"$ {line}" in said, line


def test_a_screen_does_what_a_terminal_does():
    screen = record_terminal.Screen(10, 3)
    screen.feed("one\r\ntwo\x1b[1A\r\x1b[Jthree\r\n\x1b[31mred\x1b[0m\r\nfour\r\n12345678901")
    lines = [[character for character, _ in line] for line in screen.shown()]
    assert ["".join(line) for line in lines] == ["four", "1234567890", "1"]


def test_long_waits_play_fast_and_the_clock_tells_the_truth():
    events = [[0.0, "o", "$ "], [1.0, "m", "run"], [101.0, "o", "done\r\n$ "], [101.0, "m", "done"], [102.0, "o", "x"]]
    times = [(round(at, 3), happened) for at, happened, _ in record_terminal.played(events)]
    longest = record_terminal.LONGEST
    assert times == [(0.0, 0.0), (1.0 + longest, 101.0), (2.0 + longest, 102.0)]
