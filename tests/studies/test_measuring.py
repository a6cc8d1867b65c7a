import io

import pytest
from rich.console import Console

from sparsefield.studies.measuring import Bar, Lines, Quiet, measuring


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def shown(kind, seconds):
    """What a display writes of ten runs that take so long each."""
    sink, clock = io.StringIO(), Clock()
    console = Console(file=sink, width=100, force_terminal=kind is Bar, color_system=None)
    with kind(console, 10, clock) as display:
        for _ in range(10):
            clock.now += seconds
            display.advance()
    return sink.getvalue()


def test_a_line_now_and_then_with_the_time_left():
    assert shown(Lines, 3.0).splitlines() == [
        "measuring the networks of 10 runs",
        "2/10 measured  (24 s left)",
        "4/10 measured  (18 s left)",
        "6/10 measured  (12 s left)",
        "8/10 measured  (6 s left)",
        "10/10 measured  (0 s left)",
    ]


def test_what_is_quick_has_one_line():
    assert shown(Lines, 0.1).splitlines() == ["measuring the networks of 10 runs"]


def test_a_terminal_has_a_bar():
    written = shown(Bar, 3.0)
    assert "measuring" in written
    assert "10/10" in written
    assert "left: 0 s" in written


@pytest.mark.parametrize(("wanted", "kind"), [(False, Quiet), (True, Lines)])
def test_the_display_that_fits(capsys, wanted, kind):
    with measuring(wanted, 1) as display:
        display.advance()
    assert type(display) is kind
    assert (capsys.readouterr().err == "") == (not wanted)


def test_no_pace_is_no_number():
    assert Quiet(3).seconds_left() == float("inf")
