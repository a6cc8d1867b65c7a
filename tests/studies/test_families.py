"""The clip against none: planted effects of it are found, and only those."""

import math

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read

CLIPPED = [
    {"family": family, "sparsity": s, "m": m, "lr": lr}
    for family in ("crelu", "cst")
    for s in (0.7, 0.9)
    for m in (0.5, 1.0, 2.0)
    for lr in (3e-4, 1e-3)
]
UNCLIPPED = [
    {"family": family, "sparsity": s, "lr": lr}
    for family in ("relu", "st")
    for s in (0.7, 0.9)
    for lr in (3e-4, 1e-3)
]


def planted(clip, *, best=1.0, drift=0.0):
    """The clip adds so much accuracy at s = 0.9, most at m = ``best``."""

    def measure(config, seed):
        height, wobble = config["m"], 0.004 * math.sin(7 * seed + len(config["family"]))
        added = clip - 0.02 * abs(math.log2(height / best)) if height else 0.0
        accuracy = 0.8 + wobble + (added if config["sparsity"] == 0.9 else 0.0)
        rate = -0.3 * (config["lr"] > 5e-4)
        return {"test_accuracy": accuracy + rate, "zeros_end": config["sparsity"] + drift + wobble}

    return measure


def reading(invented, arms, measure, **options):
    return read(invented(arms, measure, study="p24-dnn", **options))


def sentences(found):
    return " ".join(finding.sentence for finding in found.findings)


@pytest.mark.parametrize(
    ("clip", "word"), [(0.05, "rises"), (-0.05, "falls"), (0.0, "is not told apart")]
)
def test_the_headline_is_the_clip_at_the_highest_sparsity(invented, clip, word):
    first = reading(invented, CLIPPED + UNCLIPPED, planted(clip), seeds=5).findings[0]
    assert first.sentence.startswith("At s = 0.9, from shifted ReLU to CReLU (m = 1,")
    assert f"test accuracy {word}" in first.sentence
    assert first.interval.low <= clip <= first.interval.high


@pytest.mark.parametrize("best", [0.5, 2.0])
def test_the_height_is_chosen_by_validation(invented, best):
    found = reading(invented, CLIPPED + UNCLIPPED, planted(0.0, best=best))
    said = sentences(found)
    assert f"At s = 0.9 CReLU has m = {best:g} chosen by validation: " in said
    word = "falls" if best == 0.5 else "rises"
    assert f"CReLU from m = 0.5 to m = 2: test accuracy {word}" in said


def test_what_validation_does_not_choose_is_not_reported(invented):
    def measure(config, seed):
        other = {"validation_accuracy": 0.9 if config["m"] == 2.0 else 0.5}
        return {**planted(0.1, best=0.5)(config, seed), **other}

    said = sentences(reading(invented, CLIPPED + UNCLIPPED, measure))
    assert "CReLU has m = 2 chosen by validation" in said
    assert "from shifted ReLU to CReLU (m = 2, chosen by validation, the highest tried)" in said


@pytest.mark.parametrize("drift", [-0.05, 0.0])
def test_zeros_that_training_moves_are_told(invented, drift):
    found = reading(invented, CLIPPED + UNCLIPPED, planted(0.0, drift=drift), seeds=5)
    kept = [f.interval for f in found.findings if "differs from the one asked" in f.sentence]
    assert len(kept) == 2
    assert all(interval.low <= drift <= interval.high for interval in kept)
    assert all(interval.excludes(0.0) == bool(drift) for interval in kept)


def test_failures_of_both_are_counted(invented):
    def measure(config, seed):
        lost = config["m"] is None and config["sparsity"] == 0.9
        return {"failed": lost, "test_accuracy": 0.1 if lost else 0.9}

    said = sentences(reading(invented, CLIPPED + UNCLIPPED, measure))
    assert "With a clip 0 of 36 runs fail" in said
    assert "with every learning rate tried, 0 of 72 runs fail" in said
    assert "Without a clip 6 of 12 runs fail" in said
    assert "with every learning rate tried, 12 of 24 runs fail" in said


@pytest.mark.parametrize(
    "arms", [CLIPPED, UNCLIPPED, CLIPPED[:1], CLIPPED[:12] + UNCLIPPED[-2:], UNCLIPPED[:1]]
)
@pytest.mark.parametrize(("lost", "seeds"), [(True, 2), (False, 1), (False, 2)])
def test_whatever_is_missing_a_reading_stands(invented, arms, lost, seeds):
    measure = (lambda config, seed: None) if lost else planted(0.05)
    found = reading(invented, arms, measure, seeds=seeds)
    assert "nan" not in sentences(found)
    assert not lost or "cannot be compared" in found.findings[0].sentence
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    assert svg_bytes(found.draw()).startswith(b"<?xml")
