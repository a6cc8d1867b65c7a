"""What the readings of depth-width and drift say of records with a planted cause."""

import math
import re

import pytest

from sparsefield.studies import read
from sparsefield.studies.predictions import predicted

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


def of_rough_contraction(config):
    """The same for arms whose contraction agrees within a quarter."""
    return 1.1 + 0.15 * round(2 * math.log10(predicted(config).apart))


def scattered(law, size=0.008):
    """The law, and what no prediction knows of an arm."""
    return lambda c: law(c) + size * math.sin(13 * c["depth"] + 50 * c["skip"] + c["width"])


def deep(invented, law, fields=DEEP, *, wave=0.004, seeds=5, tuned=()):
    """Findings on accuracies by a law of the config, every seed with its own offset."""

    def measure(config, seed):
        return {"test_accuracy": law(config) + wave * math.sin(7 * seed + 31 * config["depth"])}

    return read(invented(fields, measure, seeds=seeds, study="depth-width", tuned=tuned)).findings


def left(findings):
    """What is left of the skip at equal contraction."""
    (found,) = (
        one for one in findings if "without a skip of equal predicted 1 − ρ" in one.sentence
    )
    return found


def test_contraction_that_is_all_takes_the_effect_along(invented):
    headline, *findings = deep(invented, of_rough_contraction, wave=0.02)
    first = left(findings)
    assert "At depth 100, with skip 0.9, test accuracy rises: +" in headline.sentence
    assert "test accuracy rises" in first.sentence
    assert "so the effect goes with it" in first.sentence
    assert "or with the noise of the gradient, which agrees too" in first.sentence
    assert first.sentence.endswith("as far as can be told.")
    assert abs(first.interval.estimate) < 0.05


def test_pairs_that_keep_something_alone_withhold_the_whole(invented):
    turn = lambda c: (  # noqa: E731
        of_rough_contraction(c) + 0.06 * (c["skip"] > 0) * (1 if c["width"] == 60 else -1)
    )
    found = left(deep(invented, turn, wave=0.02)).sentence
    assert "is not told apart from no change" in found
    assert "so most of the effect goes with it" in found
    assert re.search(r"[2-4] of 4 pairs alone keep −\d\.\d to \+\d\.\d points", found)
    assert "as far as can be told" not in found


def test_a_skip_that_helps_by_itself_is_not_accounted_for(invented):
    headline, *findings = deep(invented, lambda c: 0.5 + 0.3 * (c["skip"] > 0))
    first = left(findings)
    assert re.search(r"skip 0.9 at depth 100 keeps \+(29|30)\.", headline.sentence)
    assert "so 100 % of the effect is left to something else" in first.sentence
    assert first.interval.estimate == pytest.approx(0.3, abs=0.01)


def test_depth_that_hurts_beyond_contraction_falls_short(invented):
    first = left(deep(invented, lambda c: of_contraction(c) - 0.002 * c["depth"]))
    assert "the deeper networks fall short" in first.sentence


def test_a_skip_that_does_nothing_is_credited_with_nothing(invented):
    headline, *findings = deep(invented, lambda c: 0.5)
    first = left(findings)
    assert "test accuracy is not told apart" in headline.sentence
    assert "accuracy goes with" not in headline.sentence
    assert "keeps" not in headline.sentence
    assert "at equal depth, test accuracy is not told apart" in first.sentence
    assert "goes with it" not in first.sentence


def test_the_headline_gives_no_arm_the_number_of_another(invented):
    """The chosen skip has no match: what is kept is said of the one that has, by its name."""
    far = [{**NETWORK, "width": 60, "depth": 100, "skip": 0.999}]
    law = lambda c: of_contraction({**c, "skip": min(c["skip"], 0.9)}) + c["skip"] / 10  # noqa: E731
    there = deep(invented, law, [*DEEP, *far])[0].sentence
    assert "with skip 0.999, test accuracy rises" in there
    assert "skip 0.9 at depth 100 keeps" in there
    alone = [arm for arm in DEEP if not (arm["skip"] and arm["depth"] == 100)]
    nothing = deep(invented, law, [*alone, *far])[0].sentence  # the twin: no match
    assert "with skip 0.999, test accuracy rises" in nothing
    assert "keeps" not in nothing


def test_the_skip_is_chosen_anew_for_each_seed(invented):
    """Where each seed has its own best skip, the nested effect is less than that chosen."""
    arms = [{**NETWORK, "width": 60, "depth": 50, "skip": skip} for skip in (0.0, 0.5, 0.7, 0.9)]

    def measure(config, seed):
        lucky = config["skip"] == (0.5, 0.7, 0.9)[seed]
        return {"test_accuracy": 0.5 + 0.1 * (config["skip"] > 0) + 0.2 * lucky}

    first = read(invented(arms, measure, study="depth-width", tuned=())).findings[0]
    assert first.interval.estimate == pytest.approx(0.1 + 0.2 / 3)
    assert first.nested.estimate == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("law", "said"),
    [
        (of_contraction, "more closely with the predicted contraction than with the noise"),
        (of_noise, "more closely with the predicted noise than with the contraction"),
        (lambda c: 0.5 + 0.1 * math.sin(c["depth"] + c["width"] + c["skip"]), "no more closely"),
    ],
)
def test_the_prediction_that_ranks_the_arms_is_named(invented, law, said):
    fields = [{**arm, "width": factor * arm["width"]} for arm in DEEP for factor in (1, 4)]
    sentences = [finding.sentence for finding in deep(invented, scattered(law), fields)]
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
    assert said in deep(invented, scattered(law))[0].sentence


def test_arms_are_ranked_among_those_of_one_budget(invented):
    longer = [{**fields, "steps": 2000 if fields["width"] == 120 else 1000} for fields in DEEP]
    law = lambda c: of_contraction(c) - 0.3 * (c["steps"] == 2000)  # noqa: E731
    said = [one.sentence for one in deep(invented, law, longer)]
    for steps in (1000, 2000):
        (ranked,) = (one for one in said if f"Over 8 arms, all of {steps} steps," in one)
        assert "correlations +1.00 [no interval]" in ranked
        assert "no more closely, as far as can be told" in ranked
    assert not any("Over 16 arms, all" in one for one in said)
    assert not any("the width, at equal depth" in one or "with width" in one for one in said)
    together = [one.sentence for one in deep(invented, law)]  # the twin
    assert any("Over 16 arms, all settings," in one for one in together)
    assert any("With 2 times the width, at equal depth" in one for one in together)


def test_one_seed_tells_of_no_pair_alone(invented):
    found = deep(invented, of_contraction, seeds=1)
    assert not any("alone" in one.sentence for one in found)
    assert any("alone" in one.sentence for one in deep(invented, of_contraction, seeds=5))


def test_widths_are_compared_from_end_to_end(invented):
    """Each arm once: three widths make one pair a depth, not three."""
    fields = [*DEEP, *({**arm, "width": 240} for arm in DEEP if arm["width"] == 60)]
    headline, *findings = (one.sentence for one in deep(invented, of_noise, fields))
    assert "With 4 times the width" in headline
    assert "(8 pairs of arms" in headline
    wide = [sentence for sentence in findings if "with width 240 for 60" in sentence]
    assert len(wide) == 2
    assert all("(4 pairs of arms" in sentence for sentence in wide)


@pytest.mark.parametrize(("law", "said"), [(of_noise, "rises"), (of_contraction, "is not told")])
def test_width_changes_what_noise_does_and_not_contraction(invented, law, said):
    sentences = [finding.sentence for finding in deep(invented, law)]
    wide = [sentence for sentence in sentences if "with width 120 for 60" in sentence]
    assert [text.split(",")[0] for text in wide] == ["Without the skip", "With skip 0.9"]
    assert all(f"test accuracy {said}" in text for text in wide)


def test_the_deepest_of_every_setting_are_told(invented):
    sentences = [finding.sentence for finding in deep(invented, lambda c: 1 - c["skip"] / 9)]
    (told,) = (s for s in sentences if s.startswith("Width 120, at depth 100, with skip 0.9"))
    assert "test accuracy falls: −10" in told or "test accuracy falls: −9" in told
    assert re.search(r"from (99|100)\.", told)
    assert "0 of 5 runs fail with it, 0 of 5 without" in told


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
