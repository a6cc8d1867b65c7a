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


def test_speed_and_crossover():
    speed, crossover = bench_figure(RESULT).axes
    assert [label.get_text() for label in speed.get_yticklabels()] == ["eager", "engine"]
    assert texts(speed) == ["1", "8"]
    assert [label.get_text() for label in crossover.get_xticklabels()] == ["10", "50"]
    lines = {line.get_label(): list(line.get_ydata()) for line in crossover.lines[:2]}
    assert lines["batch 1"] == pytest.approx([1 / 0.2, 1 / 0.6])
    assert lines["batch 2"] == pytest.approx([1 / 0.4, 1 / 1.2])  # the last one loses
    assert list(crossover.lines[2].get_ydata()) == [1.0, 1.0]


def test_a_cell_that_was_not_timed_is_left_out():
    cells = [cell(0.1, 1, 0.2), cell(0.5, 1, None), cell(1.0, 1, 2.0)]
    _, crossover = bench_figure({**RESULT, "crossover": cells}).axes
    assert [label.get_text() for label in crossover.get_xticklabels()] == ["10", "100"]


def test_another_contender_where_there_is_no_engine():
    cells = [cell(0.1, 1, None), cell(0.1, 1, 0.5, "embedding_bag")]
    _, crossover = bench_figure({**RESULT, "crossover": cells}).axes
    assert crossover.get_title(loc="left").startswith("embedding_bag on one Linear 8 x 8")


def test_what_was_not_timed_has_no_panel():
    (speed,) = bench_figure({**RESULT, "crossover": []}).axes
    assert speed.get_title(loc="left") == "Whole network"
