import io
from dataclasses import replace

import pytest
from rich.console import Console

from sparsefield.sweep.progress import Bars, Lines, Quiet, display, duration, outcome
from sparsefield.sweep.workload import Workload
from sparsefield.train import read_run


@pytest.fixture
def work(plan):
    """Two runs of 30 steps."""
    names = {run.name for run in plan.runs}
    return Workload(plan.runs, dict.fromkeys(names, 30), names)


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_every_run_has_its_line(work, kind):
    sink = io.StringIO()
    console = Console(file=sink, width=100, force_terminal=kind is Bars, color_system=None)
    with kind(console, work, total=3, ended=1) as shown:
        shown.started("q1-seed0")
        shown.stepped({"q1-seed0": (0, 7)})
        shown.ended("q1-seed0", "accuracy 90%")
        shown.ended("q4-seed0", "NO RESULT: why [x]")
    written = sink.getvalue()
    assert "3 runs, 1 of them ended before" in written
    assert "2/3  q1-seed0: accuracy 90%" in written
    assert "3/3  q4-seed0: NO RESULT: why [x]" in written
    assert "(0 s left)" in written
    assert work.share == 1.0


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_sweep_with_a_name_is_called_by_it(work, kind):
    sink = io.StringIO()
    console = Console(file=sink, width=120, force_terminal=kind is Bars, color_system=None)
    with kind(console, work, total=2, ended=0, name="part [a], 1 of 3") as shown:
        shown.ended("q1-seed0", "")
    assert "part [a], 1 of 3: 2 runs" in sink.getvalue()
    assert ("part [a], 1 of 3: 1/2 runs" in sink.getvalue()) == (kind is Bars)


def test_nothing_is_shown_where_nothing_is_wanted(work, capsys):
    shown = display(False, work, total=2, ended=0)
    with shown:
        shown.ended("q1-seed0", "")
    assert type(shown) is Quiet
    assert type(display(True, work, total=2, ended=0)) is Lines
    assert capsys.readouterr() == ("", "")


def test_no_pace_is_no_number():
    assert duration(float("inf")) == "?"


def test_a_result_in_words_says_whether_it_failed(runs):
    result = read_run(runs / "a-plain" / "seed-0").result
    assert outcome(result).startswith(f"accuracy {result.test_accuracy:.1%}, zeros ")
    assert "FAILED" not in outcome(result)
    assert outcome(replace(result, failed=True)).endswith("  FAILED")
