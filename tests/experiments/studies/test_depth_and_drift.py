"""What the readings of depth-width and drift say of records with a planted cause."""

import math
import re

import pytest

from sparsefield.experiments.studies import read
from sparsefield.experiments.studies.predictions import predicted

NETWORK = {"sparsity": 0.8, "q": 4.0, "clip": 1.1}
DEEP = [
    {**NETWORK, "width": width, "depth": depth, "skip": skip}
    for width in (60, 120)
    for depth in (5, 10, 50, 100)
    for skip in (0.0, 0.9)
]
DRIFT = [
    {**NETWORK, "q": q, "skip": skip, "clip": clip}
    for q in (1.0, 4.0, 16.0)
    for skip in (0.0, 0.9)
    for clip in (0.6, 1.1)
]


def of_contraction(config):
    return 1.1 + 0.3 * math.log10(predicted(config).apart)


def of_noise(config):
    return 0.6 - 0.4 * math.log10(predicted(config).noise)


def deep(invented, law, fields=DEEP):
    """Findings on accuracies by a law of the config, every seed with its own offset."""

    def measure(config, seed):
        return {"test_accuracy": law(config) + 0.004 * math.sin(7 * seed + 31 * config["depth"])}

    return read(invented(fields, measure, seeds=5, study="depth-width", tuned=())).findings


def test_contraction_that_is_all_accounts_for_the_skip(invented):
    headline, first, *_ = deep(invented, of_contraction)
    assert "At depth 100, with skip 0.9, test accuracy rises: +" in headline.sentence
    assert "beside shallower networks without it, of equal predicted" in headline.sentence
    assert "at equal depth, test accuracy rises" in first.sentence
    assert "accounts for" in first.sentence
    assert "or the noise of the gradient, which agrees too" in first.sentence
    assert abs(first.interval.estimate) < 0.05


def test_a_skip_that_helps_by_itself_is_not_accounted_for(invented):
    headline, first, *_ = deep(invented, lambda c: 0.5 + 0.3 * (c["skip"] > 0))
    assert "of equal predicted contraction, it rises: +" in headline.sentence
    assert "pairs alone 0 rise" not in headline.sentence
    assert "so 100 % of the effect is left to something else" in first.sentence
    assert first.interval.estimate == pytest.approx(0.3, abs=0.01)


def test_depth_that_hurts_beyond_contraction_falls_short(invented):
    first = deep(invented, lambda c: of_contraction(c) - 0.002 * c["depth"])[1]
    assert "the deeper networks fall short" in first.sentence


def test_a_skip_that_does_nothing_is_credited_with_nothing(invented):
    headline, first, *_ = deep(invented, lambda c: 0.5)
    assert "test accuracy is not told apart" in headline.sentence
    assert "Accuracy goes with" not in headline.sentence
    assert "at equal depth, test accuracy is not told apart" in first.sentence
    assert "account" not in first.sentence


@pytest.mark.parametrize(
    ("law", "said"),
    [
        (of_contraction, "more closely with the predicted contraction than with the noise"),
        (of_noise, "more closely with the predicted noise than with the contraction"),
        (lambda c: 0.5 + 0.1 * math.sin(c["depth"] + c["width"] + c["skip"]), "no more closely"),
    ],
)
def test_the_prediction_that_ranks_the_arms_is_named(invented, law, said):
    sentences = [finding.sentence for finding in deep(invented, law)]
    (ranked,) = (sentence for sentence in sentences if ", all settings," in sentence)
    assert said in ranked


@pytest.mark.parametrize(
    ("law", "said"),
    [
        (of_contraction, "goes with slower contraction, and is not told to go with less noise"),
        (of_noise, "goes with less noise of the gradient, and is not told"),
        (lambda c: 0.5 + 0.1 * math.sin(c["depth"] + c["width"] + c["skip"]), "do not say"),
    ],
)
def test_the_headline_says_which_prediction_accuracy_goes_with(invented, law, said):
    assert said in deep(invented, law)[0].sentence


def test_pairs_of_opposite_signs_are_counted(invented):
    turn = lambda c: 0.5 + 0.1 * (c["skip"] > 0) * (1 if c["width"] == 60 else -1)  # noqa: E731
    first = deep(invented, turn)[1].sentence
    assert re.search(r"of (\d) pairs alone [1-9] rise, [1-9] fall", first)
    alike = deep(invented, lambda c: 0.5 + 0.1 * (c["skip"] > 0))[1].sentence  # the twin
    assert re.search(r"of (\d) pairs alone \1 rise, 0 fall", alike)


def test_arms_are_ranked_among_those_of_one_budget(invented):
    longer = [{**fields, "steps": 2000 if fields["width"] == 120 else 1000} for fields in DEEP]
    law = lambda c: of_contraction(c) - 0.3 * (c["steps"] == 2000)  # noqa: E731
    said = [one.sentence for one in deep(invented, law, longer)]
    for steps in (1000, 2000):
        (ranked,) = (one for one in said if f"Over 8 arms, all of {steps} steps," in one)
        assert "correlations +1.00" in ranked
    assert not any("Over 16 arms" in one for one in said)
    assert any("these runs differ in steps too" in one for one in said)
    together = [one.sentence for one in deep(invented, law)]  # the twin
    assert any("Over 16 arms, all settings," in one for one in together)


@pytest.mark.parametrize(("law", "said"), [(of_noise, "rises"), (of_contraction, "is not told")])
def test_width_changes_what_noise_does_and_not_contraction(invented, law, said):
    sentences = [finding.sentence for finding in deep(invented, law)]
    wide = [sentence for sentence in sentences if "with width 120 for 60" in sentence]
    assert [text.split(",")[0] for text in wide] == ["Without the skip", "With skip 0.9"]
    assert all(f"test accuracy {said}" in text for text in wide)


def test_the_deepest_of_every_setting_are_told(invented):
    sentences = [finding.sentence for finding in deep(invented, lambda c: 1 - c["skip"] / 9)]
    (plain,) = (s for s in sentences if s.startswith("Width 120, depth 100, no skip"))
    (skipping,) = (s for s in sentences if s.startswith("Width 120, depth 100, skip 0.9"))
    assert " 100." in plain
    assert " 90." in skipping or " 89." in skipping
    assert all("0 of 5 runs fail" in sentence for sentence in (plain, skipping))


def test_without_pairs_the_headline_is_something_else(invented):
    first, *_, last = deep(invented, of_contraction, DEEP[:2])
    assert first.interval.n
    assert not last.interval.n


def drift(invented, end):
    def measure(config, seed):
        noise = 0.002 * math.sin(5 * seed + config["q"] + config["clip"])
        return {"test_accuracy": 0.9, "zeros_init": 0.9, "zeros_end": end(config) + noise}

    return read(invented(DRIFT, measure, seeds=5, study="drift", tuned=())).findings


def test_the_field_that_holds_the_zeros_is_named(invented):
    findings = drift(invented, lambda c: 0.85 + 0.01 * math.log2(c["q"]))
    assert "less from q* = 1 to q* = 16" in findings[0].sentence
    assert findings[0].interval.estimate == pytest.approx(-0.04, abs=0.003)
    assert "The zeros move least at" in " ".join(finding.sentence for finding in findings)


def test_rates_of_drift_may_be_chosen(invented):
    """By nested selection too it is the zeros that the headline tells of."""
    arms = [{**arm, "lr": lr} for arm in DRIFT for lr in (1e-3, 3e-3)]

    def measure(config, seed):
        zeros = 0.88 - 0.05 * (config["skip"] > 0) - 0.1 * (config["lr"] > 2e-3)
        wave = 0.002 * math.sin(5 * seed + config["q"])
        return {
            "test_accuracy": 0.9 * (config["lr"] < 2e-3),
            "zeros_init": 0.9,
            "zeros_end": zeros + wave,
        }

    first = read(invented(arms, measure, seeds=5, study="drift")).findings[0]
    assert first.nested == first.interval
    assert first.nested.estimate == pytest.approx(0.05, abs=0.003)
    assert drift(invented, lambda c: 0.88 - 0.05 * (c["skip"] > 0))[0].nested is None


def test_a_field_that_moves_them_is_named_so(invented):
    first = drift(invented, lambda c: 0.88 - 0.05 * (c["skip"] > 0))[0]
    assert "more from no skip to skip 0.9" in first.sentence


def test_where_no_field_holds_them_none_is_named(invented):
    first = drift(invented, lambda c: 0.85)[0]
    assert "no effect of skip α², q*, clip on that is told apart" in first.sentence
    assert first.interval.estimate == pytest.approx(0.05, abs=0.002)
