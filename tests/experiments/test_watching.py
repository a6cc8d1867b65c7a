import io
from dataclasses import replace

import pytest
from rich.console import Console

from sparsefield.experiments.watching import LineWatch, LiveWatch, Watch, watching
from sparsefield.train import read_run


@pytest.fixture
def result(runs):
    """A recorded result."""
    return read_run(runs / "a-plain" / "seed-0").result


def follow(watch, result):
    with watch:
        watch.begin(total=3, finished=1)
        watch.started("CReLU [a]", 0)
        watch.finished("CReLU [a]", 0, result)
        watch.started("CReLU [a]", 1)
        watch.finished("CReLU [a]", 1, replace(result, failed=True))


@pytest.mark.parametrize("kind", [LineWatch, LiveWatch])
def test_every_run_has_its_line(kind, result):
    sink = io.StringIO()
    terminal = kind is LiveWatch
    follow(kind(Console(file=sink, width=100, force_terminal=terminal, color_system=None)), result)
    written = sink.getvalue()
    assert "3 runs, 1 of them finished before" in written
    assert f"2/3  CReLU [a], seed 0: accuracy {result.test_accuracy:.1%}" in written
    assert "FAILED" in written.split("3/3")[1]


def test_nothing_is_shown_where_nothing_is_wanted(result, capsys):
    follow(watching(False), result)
    assert type(watching(False)) is Watch
    assert capsys.readouterr() == ("", "")


def test_a_pipe_gets_lines(capsys):
    assert type(watching(True)) is LineWatch
