import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from sparsefield.sweep.failure import Failure
from sparsefield.sweep.progress import Display, Load, duration
from sparsefield.sweep.running import outcome


@pytest.fixture(params=[False, True], ids=["lines", "bars"])
def console(request):
    """A console that writes to memory, as a log or as a terminal."""
    terminal = request.param
    return Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)


def share(shown):
    """Of the work that is done, in [0, 1]."""
    return shown.bars.tasks[0].percentage / 100


def loads(*names, steps=30):
    return {name: Load(steps, weight=2) for name in names}


def test_every_run_has_its_line(console):
    with Display(loads("before", "q1", "q4"), {"q1", "q4"}, console) as shown:
        shown.started("q1")
        shown.started("q4")
        shown.stepped({"q1": (0, 7)})
        shown.ended("q1", "accuracy 90%")
        shown.ended("q4", "NO RESULT: why [x]")
    written = console.file.getvalue()
    assert "3 runs, 1 of them ended before" in written
    assert "2/3  q1: accuracy 90%" in written
    assert "3/3  q4: NO RESULT: why [x]" in written
    assert "(0 s left)" in written
    assert share(shown) == 1.0


def test_a_sweep_with_a_name_is_called_by_it(console):
    with Display(loads("q1", "q4"), {"q1", "q4"}, console, name="part [a], 1 of 3") as shown:
        shown.started("q1")
        shown.ended("q1", "")
    written = console.file.getvalue()
    assert "part [a], 1 of 3: 2 runs" in written
    assert ("part [a], 1 of 3: 1/2 runs" in written) == console.is_terminal


def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    console = Console(stderr=True, quiet=True, force_terminal=True)
    with Display(loads("q1"), {"q1"}, console) as shown:
        shown.started("q1")
        shown.ended("q1", "")
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_at_the_pace_of_this_call():
    now = [0.0]
    shown = Display(
        loads("a", "b", "c", steps=100), {"a", "b"}, Console(quiet=True), clock=lambda: now[0]
    )
    shown.started("a")
    shown.stepped({"a": (0, 0)})
    assert shown.seconds_left() == float("inf")
    shown.stepped({"a": (40, 40)})  # steps of an earlier call
    assert shown.seconds_left() == float("inf")
    now[0] = 10.0
    shown.stepped({"a": (40, 60)})  # 20 steps in 10 s; 40 + 100 are left
    assert shown.seconds_left() == 70.0
    assert share(shown) == pytest.approx(160 / 300)
    shown.ended("a", "")
    shown.started("b")
    shown.ended("b", "")
    assert (shown.seconds_left(), share(shown)) == (0.0, 1.0)


def test_a_run_that_is_tried_again_is_not_done_twice():
    shown = Display(loads("a"), {"a"}, Console(quiet=True))
    shown.started("a")
    shown.stepped({"a": (0, 20)})
    shown.started("a")
    shown.stepped({"a": (0, 0)})
    shown.stepped({"a": (10, 15)})
    assert share(shown) == 0.5
    shown.ended("a", "")
    assert share(shown) == 1.0


def test_no_pace_is_no_number():
    assert duration(float("inf")) == "?"


def test_a_result_in_words_says_whether_it_failed(tmp_path, monkeypatch):
    result = SimpleNamespace(test_accuracy=0.9, sparsity_mean=0.812, seconds=12.4, failed=False)
    monkeypatch.setattr(sys.modules["sparsefield.sweep.running"], "read_result", lambda _: result)
    assert outcome(tmp_path, None) == "accuracy 90.0%, zeros 81.2%, 12 s"
    result.failed = True
    assert outcome(tmp_path, None) == "accuracy 90.0%, zeros 81.2%, 12 s  FAILED"
    assert outcome(tmp_path, Failure("why", "raised")) == "NO RESULT: why"
