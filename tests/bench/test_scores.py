"""Medians, quartiles and paired ratios by hand."""

import pytest

from sparsefield.bench import Contender, Rival
from sparsefield.bench.scores import best_dense, cells, rows


def contender(name, *, dense=False, status="timed", reason=""):
    rival = Rival(name, lambda model, sample: model, dense=dense)
    return Contender(rival, status, reason, None, "", 2, 0.5)


CONTENDERS = [
    contender("eager", dense=True),
    contender("compile", dense=True),
    contender("onnxruntime", dense=True, status="absent", reason="not installed"),
    contender("engine"),
]
TIMES = {
    "eager": [4.0, 4.0, 4.0, 40.0, 4.0],
    "compile": [2.0, 2.0, 2.0, 20.0, 2.0],
    "engine": [1.0, 1.0, 0.5, 10.0, 4.0],
}


def test_best_dense_is_the_fastest_dense_one_that_was_timed():
    assert best_dense(CONTENDERS, TIMES) == "compile"
    assert best_dense(CONTENDERS, {**TIMES, "eager": [0.1] * 5}) == "eager"


def test_rows():
    found = {row.contender: row for row in rows(CONTENDERS, TIMES, of="x", batch=3, zeros=0.9)}
    engine = found["engine"]
    # paired ratios: 2, 2, 4, 2, 0.5; the slow fourth round was slow for all
    assert engine.speedup == 2.0
    assert engine.speedup_quartiles == (1.25, 3.0)
    assert engine.median_s == 1.0
    assert engine.quartiles_s == (0.75, 7.0)
    assert engine.realised == pytest.approx(0.2)
    assert (engine.n, engine.batch, engine.of, engine.threads) == (5, 3, "x", 2)
    assert found["eager"].speedup == 0.5
    assert found["compile"].speedup == 1.0


def test_an_untimed_contender_keeps_its_reason():
    row = rows(CONTENDERS, TIMES, of="x", batch=3, zeros=0.9)[2]
    assert (row.contender, row.status, row.reason) == ("onnxruntime", "absent", "not installed")
    assert row.median_s is row.speedup is row.realised is None


def test_all_zeros_has_no_share_to_realise():
    assert rows(CONTENDERS, TIMES, of="x", batch=3, zeros=1.0)[3].realised is None


def test_cells_are_those_that_use_zeros():
    (cell,) = cells(CONTENDERS, TIMES, density=0.3, batch=3)
    assert (cell.contender, cell.density, cell.batch) == ("engine", 0.3, 3)
    assert (cell.best_dense, cell.best_dense_s) == ("compile", 2.0)
    assert cell.time_ratio == 0.5
