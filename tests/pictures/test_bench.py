"""The picture of a bench, from plain data."""

import pytest

from sparsefield.pictures.bench import bench_figure

pytest.importorskip("matplotlib")


def row(contender, batch, speedup, *, of="network", dense=False, status="timed"):
    timed = status == "timed"
    return {
        "of": of,
        "batch": batch,
        "contender": contender,
        "dense": dense,
        "status": status,
        "zeros": 0.9,
        "median_s": 1e-3 / speedup if timed else None,
        "speedup": speedup if timed else None,
        "speedup_quartiles": [0.9 * speedup, 1.1 * speedup] if timed else None,
    }


def cell(density, batch, ratio, contender="engine"):
    return {"density": density, "batch": batch, "contender": contender, "time_ratio": ratio}


RESULT = {
    "subject": "dnn-4x8",
    "sparsity": 0.9,
    "threads": 2,
    "hardware": {"cpu": "a CPU"},
    "rows": [
        row("eager", 1, 1.0, dense=True),
        row("onnxruntime", 1, 1.0, dense=True, status="absent"),
        row("engine", 1, 8.0),
    ],
    "layers": [row("eager", 1, 1.0, of="head", dense=True), row("engine", 1, 3.0, of="head")],
    "crossover_layer": "Linear 8 x 8",
    "crossover": [cell(d, b, r * b) for d, r in ((0.1, 0.2), (0.5, 0.6)) for b in (1, 2)],
}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_three_panels():
    speed, crossover, layers = bench_figure(RESULT).axes
    assert [label.get_text() for label in speed.get_yticklabels()] == ["eager", "engine"]
    assert texts(speed) == ["1", "8"]
    assert [line.get_label() for line in layers.lines] == ["best dense", "engine"]
    assert layers.lines[1].get_ydata() == pytest.approx([1000 / 3])
    assert [label.get_text() for label in crossover.get_xticklabels()] == ["10", "50"]


def test_a_losing_cell_is_hatched_and_the_hatching_has_a_key():
    _, crossover, _ = bench_figure(RESULT).axes
    (lost,) = [patch for patch in crossover.patches if patch.get_hatch()]
    assert lost.get_xy() == (0.5, 0.5)  # the cell at 1, 1: density 0.5, batch 2, ratio 1.2
    assert [text.get_text() for text in crossover.get_legend().texts] == ["dense is faster"]


def test_nothing_lost_is_not_hatched():
    cells = [cell(0.1, 1, 0.2), cell(0.5, 1, 0.9)]
    _, crossover, _ = bench_figure({**RESULT, "crossover": cells}).axes
    assert not any(patch.get_hatch() for patch in crossover.patches)


def test_no_line_joins_layers_that_are_not_neighbours():
    *_, layers = bench_figure(RESULT).axes
    assert {line.get_linestyle() for line in layers.lines} == {"None"}


def test_another_contender_where_there_is_no_engine():
    cells = [cell(0.1, 1, None), cell(0.1, 1, 0.5, "embedding_bag")]
    _, crossover, _ = bench_figure({**RESULT, "crossover": cells}).axes
    assert crossover.get_title(loc="left").startswith("embedding_bag on one Linear 8 x 8")


def test_what_was_not_timed_has_no_panel():
    (speed,) = bench_figure({**RESULT, "layers": [], "crossover": []}).axes
    assert speed.get_title(loc="left") == "Whole network"
