"""The reading of the frontier: the cost of sparsity, the chosen arms, and the effects."""

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read

SPARSITIES = (0.95, 0.98, 0.99)
ALIKE = {"depth": 20, "width": 200}
CHOICES = [{"q": 1.0, "clip": 1.1}, {"q": 16.0, "clip": 1.1}, {"q": 16.0, "clip": 0.6}]
ARMS = [
    {**ALIKE, **choice, "skip": skip, "sparsity": s, "lr": lr}
    for choice in CHOICES
    for skip in (0.0, 0.9)
    for s in SPARSITIES
    for lr in (3e-4, 1e-3)
]


def planted(*, step=0.0, skip=0.0, q=0.0, clip=0.0, noise=0.004):
    """Accuracy by effects of a step of sparsity, the skip, q* = 16 and the narrow clip."""

    def measure(config, seed):
        at = SPARSITIES.index(config["sparsity"])
        accuracy = 0.6 + step * at + skip * (config["skip"] > 0) + q * (config["q"] > 1)
        accuracy += clip * (config["clip"] < 1) - 0.1 * (config["lr"] > 5e-4)
        turn = at**2 + (config["q"] > 1) + 3 * (config["clip"] < 1)
        wave = noise * ((seed + turn) % 5 - 2)  # its mean over five seeds is zero
        return {"test_accuracy": accuracy + wave, "zeros_end": config["sparsity"] - 0.01}

    return measure


@pytest.fixture
def reading(invented):
    return lambda measure, arms=ARMS, seeds=5: read(
        invented(arms, measure, seeds=seeds, study="frontier", tuned=("lr", "q", "clip"))
    )


def said(found, start):
    """The finding that begins so."""
    (finding,) = [f for f in found.findings if f.sentence.startswith(start)]
    return finding


@pytest.mark.parametrize(
    ("step", "word"), [(-0.05, "falls"), (0.05, "rises"), (0.0, "is not told apart")]
)
def test_the_cost_of_sparsity_is_the_headline(reading, step, word):
    first = reading(planted(step=step)).findings[0]
    assert first.sentence.startswith("Pushed from s = 0.95 to 0.99")
    assert f"test accuracy {word}" in first.sentence
    assert first.interval.low <= 2 * step <= first.interval.high


def test_the_choice_is_by_validation_and_told(reading):
    found = reading(planted(skip=0.05, q=0.1, clip=0.1))
    best = said(found, "At s = 0.99, 2 active units of 200 a layer")
    assert "validation chooses skip 0.9, q* = 16, clip 0.6:" in best.sentence
    assert "changes the zeros by −1.0 [−1.0, −1.0] points" in best.sentence
    other = said(reading(planted(skip=-0.05, q=-0.1, clip=-0.1)), "At s = 0.99, 2 active")
    assert "validation chooses no skip, q* = 1, clip 1.1:" in other.sentence


@pytest.mark.parametrize(
    ("field", "start"),
    [
        ("skip", "From no skip to skip 0.9 (the rest chosen), mean over"),
        ("q", "From q* = 1 to q* = 16 (the clip held), mean over"),
        ("clip", "From clip 0.6 to clip 1.1 (q* held), mean over"),
    ],
)
def test_each_effect_is_found_and_only_that(reading, field, start):
    size = -0.1 if field == "clip" else 0.1  # planted at the narrow clip: wider is better
    found, none = said(reading(planted(**{field: size})), start), said(reading(planted()), start)
    assert "test accuracy rises" in found.sentence
    assert found.interval.low <= 0.1 <= found.interval.high
    assert "is not told apart" in none.sentence


def test_an_effect_names_only_where_it_was_met(reading):
    arms = [arm for arm in ARMS if arm["q"] > 1 or arm["sparsity"] < 0.99]
    found = said(reading(planted(q=0.1), arms), "From q* = 1 to q* = 16 (the clip held), mean")
    assert "mean over s = 0.95, 0.98, test" in found.sentence


def test_failures_are_counted_where_they_are(reading):
    def measure(config, seed):
        return {"failed": config["sparsity"] == 0.99, "test_accuracy": 0.5, "zeros_end": 1.0}

    found = reading(measure)
    for s, failed in ((0.95, 0), (0.99, 30)):
        rate = said(found, f"At s = {s:g}, over every")
        assert f"{failed} of 30 runs fail" in rate.sentence
    assert svg_bytes(found.draw()).startswith(b"<?xml")


@pytest.mark.parametrize(
    "arms", [ARMS[:1], ARMS[::6], [a for a in ARMS if a["q"] == 16 and not a["skip"]], ARMS[::-1]]
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_any_arms_will_do(reading, arms, seeds):
    found = reading(planted(step=-0.1), arms, seeds)
    assert found.findings
    assert "nan" not in " ".join(finding.sentence for finding in found.findings)
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    assert svg_bytes(found.draw()).startswith(b"<?xml")
