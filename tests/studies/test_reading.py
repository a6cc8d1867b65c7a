"""Sentences follow the record: planted effects are found, and only those."""

import math

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read
from sparsefield.studies.arms import arms
from sparsefield.studies.reading import arm_table, points

QS, SPARSITIES, RATES = (0.25, 1.0, 16.0), (0.6, 0.9), (1e-3, 1e-2)
ARMS = [{"sparsity": s, "q": q, "lr": lr} for s in SPARSITIES for q in QS for lr in RATES]


def planted(effect, *, noise=0.01):
    """Accuracy rises by ``effect`` with each step of q; every seed has its own offset."""

    def measure(config, seed):
        step = QS.index(config["q"])
        accuracy = 0.7 + effect * step + noise * math.sin(7 * seed + step)
        return {"test_accuracy": accuracy - 0.2 * (config["lr"] > 5e-3)}

    return measure


def sentences(record):
    return " ".join(finding.sentence for finding in read(record).findings)


@pytest.mark.parametrize(
    ("effect", "word"), [(0.05, "rises"), (-0.05, "falls"), (0.0, "is not told apart")]
)
def test_a_planted_effect_is_found(invented, effect, word):
    first = read(invented(ARMS, planted(effect), seeds=5)).findings[0]
    assert f"test accuracy {word}" in first.sentence
    assert first.interval.low <= 2 * effect <= first.interval.high
    assert first.interval.n == 5
    others = {"rises", "falls", "is not told apart"} - {word}
    assert not any(other in first.sentence for other in others)


def test_every_finding_has_its_interval_in_words(invented):
    for finding in read(invented(ARMS, planted(0.05), seeds=5)).findings:
        assert finding.interval.known
        counted = finding.interval.show(signed=True).replace("-", "−")
        told = finding.interval.show(100), points(finding.interval), counted
        assert any(text in finding.sentence for text in told)


def test_one_seed_claims_nothing(invented):
    said = sentences(invented(ARMS, planted(0.05), seeds=1))
    assert "no interval" in said
    assert "rises" not in said
    assert "too few seeds" in said


def test_failed_and_lost_runs_are_counted(invented):
    def measure(config, seed):
        if config["q"] == 0.25:
            return None if seed == 0 else {"failed": True, "test_accuracy": 0.1}
        return {"test_accuracy": 0.9}

    record = invented(ARMS, measure)
    assert "At q* = 0.25, 6 of 6 runs fail" in sentences(record)
    assert "At q* = 16, 0 of 6 runs fail" in sentences(record)
    (table,) = read(record).tables
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert (first["n"], first["failed"]) == ("2", "3 of 3")


@pytest.mark.parametrize(
    "study",
    [
        *("dt26-dnn", "dt26-cnn", "qstar-mechanism", "p24-dnn", "p24-cnn", "depth-width", "drift"),
        *("clip-rule", "frontier", "rivals", "something-else"),
    ],
)
@pytest.mark.parametrize(
    "case",
    [
        lambda invented, **kw: invented(ARMS, lambda c, s: None, **kw),
        lambda invented, **kw: invented(ARMS, planted(0.1), seeds=1, **kw),
        lambda invented, **kw: invented(ARMS[:1], planted(0.1), **kw),
        lambda invented, **kw: invented(ARMS[:2], planted(0.1), seeds=1, **kw),
        lambda invented, **kw: invented([ARMS[0], ARMS[-1]], planted(0.1), **kw),
        lambda invented, **kw: invented(ARMS[4:], planted(0.1), **kw),
        lambda invented, **kw: invented(
            ARMS, lambda c, s: None if s == QS.index(c["q"]) else {"test_accuracy": 0.5}, **kw
        ),
    ],
)
def test_whatever_is_missing_a_reading_stands(invented, study, case):
    found = read(case(invented, study=study))
    assert found.findings
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    assert "nan" not in " ".join(finding.sentence for finding in found.findings)
    assert svg_bytes(found.draw()).startswith(b"<?xml")


def test_the_plain_reading_names_the_best(invented):
    found = read(invented(ARMS, planted(0.05), study="something-else"))
    assert "the most accurate arm is s = 0.6, q* = 16" in found.findings[0].sentence
    assert len(found.tables[0].rows) == 6


def test_the_speed_is_told_of_those_that_get_there(invented):
    def measure(config, seed):
        steps = 400 - faster * QS.index(config["q"]) + 10 * math.sin(7 * seed + config["q"])
        return {"test_accuracy": 0.9, "steps_to_half": None if seed == 0 else steps}

    for faster, word in ((100, "falls"), (-100, "rises"), (0, "is not told apart")):
        found = read(invented(ARMS, measure, seeds=6)).findings
        (speed,) = (one for one in found if "number of steps" in one.sentence)
        assert f"half a guess's {word}" in speed.sentence
        assert speed.interval.low <= -2 * faster <= speed.interval.high
        assert "10 of 12 at q* = 0.25 (lr 0.001) and 10 of 12 at q* = 16" in speed.sentence
        # as tests/train/test_loop.py sees it done: an epoch may be shorter
        assert speed.sentence.endswith("every 50 steps and at the end of each epoch.")


def test_failures_are_counted_over_the_rates_that_were_not_chosen(invented):
    def measure(config, seed):
        lost = config["lr"] > 5e-3 and config["q"] == 16
        return {"failed": lost, "test_accuracy": 0.1 if lost else 0.9}

    said = sentences(invented(ARMS, measure))
    assert "At q* = 16, 0 of 6 runs fail" in said
    assert "tried at q* = 16 (0.001, 0.01), not only those chosen, 6 of 12 runs fail" in said
    assert "tried at q* = 0.25 (0.001, 0.01), not only those chosen, 0 of 12 runs fail" in said
    assert "other rates" not in said
    fewer = [arm for arm in ARMS if arm["q"] < 16 or arm["lr"] < 5e-3]
    assert "other q* were tried at other rates" in sentences(invented(fewer, measure))


def test_convolutional_networks_are_read_alike(invented):
    dnn, cnn = (
        read(invented(ARMS, planted(0.05), seeds=5, study=study))
        for study in ("dt26-dnn", "dt26-cnn")
    )
    assert dnn.findings == cnn.findings


@pytest.mark.parametrize(("q_end", "said"), [(1.5, "1.50 ± 0.00"), (2e9, "2.0e+09 ± 0.0e+00")])
def test_a_variance_that_ran_away_is_a_power_of_ten(invented, q_end, said):
    record = invented(ARMS, lambda *_: {"test_accuracy": 0.5, "q_end": q_end}, seeds=3)
    (first, *_) = arm_table("", arms(record), ("q",), "q_end").rows
    assert first[-1] == said
