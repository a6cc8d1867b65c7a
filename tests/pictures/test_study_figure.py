"""The figure of a study: what was chosen, what was passed over, what failed, all in the key."""

import math
from pathlib import Path

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.pictures.study import draw_study
from sparsefield.studies import read_record, read_study, study

pytest.importorskip("matplotlib")
RECORDS = Path(__file__).parents[2] / "results" / "records"


@pytest.fixture(scope="module")
def record():
    """The smallest one: two q*, two sparsities, three rates, three seeds."""
    return read_record(RECORDS / "dt26-cnn-small.json")


def drawn(record, *panels):
    parts = {"a": {"base": {}}}
    told = {"title": "t", "question": "q?", "source": "s", "tuned": ["lr"], "small": parts}
    return draw_study(read_study("a", {**told, "figure": {"panels": list(panels)}}), record)


def key(figure):
    """What the legends of the panels and the figure's own say."""
    legends = [axes.get_legend() for axes in figure.axes] + figure.legends
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def marks(axes, size):
    return [
        line for line in axes.lines if line.get_markersize() == size and line.get_marker() != "None"
    ]


def test_every_value_tried_is_drawn_and_named(record):
    figure = drawn(record, {"x": "q", "y": "test_accuracy", "line": "sparsity"})
    (axes,) = figure.axes
    assert len(marks(axes, 6)) == 4  # chosen: two q* at two sparsities
    assert len(marks(axes, 3.5)) == 8  # and the other two rates of each
    assert key(figure) == ["s = 0.7", "s = 0.9", "tried, not chosen"]
    (without,) = drawn(record, {"x": "q", "y": "test_accuracy", "tried": False}).axes
    assert marks(without, 3.5) == []


def test_two_points_are_no_line(record):
    (axes,) = drawn(record, {"x": "q", "y": "test_accuracy", "line": "sparsity"}).axes
    joins = [
        line.get_linestyle()
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.0
    ]
    assert set(joins) == {":"}
    spec = {"x": "lr", "y": "test_accuracy", "line": "sparsity", "where": {"q": 1}, "each": ["lr"]}
    (axes,) = drawn(record, spec).axes
    assert [line.get_linestyle() for line in axes.lines if len(line.get_xdata()) == 3] == ["-"] * 2


def test_panels_of_other_names_have_a_key_each(record):
    one, other = ({"x": "q", "y": "zeros_end", "line": line} for line in ("sparsity", "q"))
    figure = drawn(record, one, other)
    assert [bool(axes.get_legend()) for axes in figure.axes] == [True, True]
    assert key(drawn(record, one, one)).count("s = 0.7") == 1


def test_room_for_what_is_missing(record):
    spec = {
        "x": "zeros_end",
        "y": "test_accuracy",
        "scale": {"x": "missing"},
        "limits": {"x": [50, 99]},
    }
    (axes,) = drawn(record, spec).axes
    low, half, high = (axes.transData.transform((x, 30))[0] for x in (90, 99, 99.7))
    assert 50 <= axes.get_xlim()[0] < axes.get_xlim()[1] <= 99
    assert (half - low) / (high - half) == pytest.approx(1 / math.log10(1 / 0.3), rel=1e-6)


def test_the_same_record_gives_the_same_picture(record):
    first, again = (svg_bytes(draw_study(study(record.study), record)) for _ in range(2))
    assert first == again
    assert b"<svg" in first


def test_a_study_without_a_figure_has_accuracy_over_zeros(record):
    parts = {"a": {"base": {}}}
    plain = {"title": "t", "question": "q?", "source": "s", "tuned": ["lr"], "small": parts}
    (axes,) = draw_study(read_study("a", plain), record).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("zeros at the end, %", "test accuracy, %")
