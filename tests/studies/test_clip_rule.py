"""The reading of the clip rule: what it costs, and on which side of the best it lies."""

import math

import pytest

from sparsefield import solve
from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read
from sparsefield.studies.clips import by_network
from sparsefield.theory.design import safe_clip
from sparsefield.theory.finite_width import finite_width

SIZE = {"width": 200, "depth": 20}
BASE = {**SIZE, "q": 4.0, "sparsity": 0.9, "lr": 1e-3}
CLIPS = (0.5, 1.0, 1.5, 3.0)
ARMS = [*({**BASE, "clip": clip} for clip in CLIPS), {**BASE, "family": "relu"}]


def wave(at, seed, size=0.01):
    """Noise whose mean over five seeds is zero, another for each of five arms."""
    return size * ((seed + (2 * at) ** 2) % 5 - 2)


def peak(best, *, drop=0.1):
    """Accuracy falls by ``drop`` with each clip away from the best; without a clip it is 0.1."""

    def measure(config, seed):
        if config["clip"] is None:
            return {"test_accuracy": 0.1, "failed": True}
        at = CLIPS.index(config["clip"])
        away = abs(at - CLIPS.index(best))
        return {"test_accuracy": 0.8 - drop * away + wave(at, seed)}

    return measure


@pytest.fixture
def made(invented):
    return lambda measure, arms=ARMS, seeds=5: invented(
        arms, measure, seeds=seeds, study="clip-rule"
    )


def test_predictions_are_the_theorys(made):
    (found,) = by_network(made(peak(1.0)))
    assert found.line == safe_clip("crelu", sparsity=0.9, **SIZE)
    assert [clip.height for clip in found.clips] == [*CLIPS, math.inf]
    for clip in found.clips[2:4]:
        vmap = solve("crelu", sparsity=0.9, q=4.0, clip=clip.height).variance_map()
        assert clip.escape == finite_width(vmap, 4.0, **SIZE).escape_probability
    assert [clip.allowed for clip in found.clips] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("best", "verdict"),
    [(3.0, "is too careful"), (1.5, "may be too careful"), (0.5, "is too bold")],
)
def test_what_the_rule_costs_is_found(made, best, verdict):
    first = read(made(peak(best))).findings[0]
    assert f"costs test accuracy against clip {best:g}" in first.sentence
    assert f"the rule {verdict} here" in first.sentence
    cost = 0.1 * abs(CLIPS.index(best) - CLIPS.index(1.0))
    assert first.interval.low < -cost < first.interval.high < 0
    assert first.nested == first.interval


def test_a_clip_that_is_best_by_one_lucky_seed_is_not_by_nested_selection(made):
    """The lucky run leaves the cost of the rule: its seed is at the clip that the others choose."""

    def lucky(config, seed):
        luck = 0.4 * (config["clip"] == 3.0 and seed == 0)
        return {"test_accuracy": 0.5 + luck + 0.01 * (seed % 2) if config["clip"] else 0.1}

    first = read(made(lucky)).findings[0]
    assert "clip 3 (" in first.sentence
    assert first.interval.estimate == pytest.approx(-0.08)
    assert first.nested.estimate == pytest.approx(0.0, abs=1e-9)


def test_a_rule_that_is_right_is_said_to_be(made):
    first = read(made(peak(1.0))).findings[0]
    assert "which is the best by validation, with" in first.sentence
    assert "too " not in first.sentence


def test_clips_that_are_alike_are_not_told_apart(made):
    """All clips but none do as well: nothing is said to cost, and a line anywhere would do."""

    def alike(config, seed):
        clip = config["clip"]
        return {"test_accuracy": 0.8 + wave(CLIPS.index(clip), seed) if clip else 0.1}

    said = [finding.sentence for finding in read(made(alike)).findings]
    assert not any("cost" in sentence or "too " in sentence for sentence in said)
    assert any("from clip 0.5 to clip 3, which a line anywhere from" in s for s in said)
    assert any("1 % is one of those" in sentence for sentence in said)


def test_a_line_on_the_wrong_side_is_none_of_the_good_ones(made):
    def late(config, seed):
        clip = config["clip"] or 0
        level = 0.8 if clip > 1 else 0.4
        return {"test_accuracy": level + wave(CLIPS.index(clip), seed) if clip else 0.1}

    said = " ".join(finding.sentence for finding in read(made(late)).findings)
    assert "are those from clip 1.5 to clip 3" in said
    assert "1 % is none of those" in said


@pytest.mark.parametrize(("above", "word"), [(True, "rises"), (False, "is not told apart")])
def test_failures_are_told_by_side(made, above, word):
    def measure(config, seed):
        beyond = config["clip"] is None or config["clip"] > 1.2
        return {"test_accuracy": 0.5, "failed": above and beyond and seed != config["clip"]}

    said = " ".join(finding.sentence for finding in read(made(measure)).findings)
    assert f"is below 1 %, 0 of {2 * 5} runs fail" in said
    assert f"the share of runs that fail {word}" in said


@pytest.mark.parametrize("arms", [ARMS[:1], ARMS[2:4], ARMS[-1:], ARMS[::-1]])
@pytest.mark.parametrize("seeds", [1, 3])
def test_any_clips_will_do(made, arms, seeds):
    found = read(made(peak(1.5), arms, seeds))
    assert found.findings
    assert "nan" not in " ".join(finding.sentence for finding in found.findings)
    assert svg_bytes(found.draw()).startswith(b"<?xml")


def test_a_network_too_narrow_for_any_clip(made):
    arms = [{**arm, "width": 1, "sparsity": 0.99} for arm in ARMS]
    found = read(made(peak(1.0), arms))
    assert "allows no clip; no clip was run that it allows" in found.findings[0].sentence
    assert svg_bytes(found.draw()).startswith(b"<?xml")


def test_networks_that_differ_are_named(made):
    arms = [*ARMS, *({**arm, "sparsity": 0.8} for arm in ARMS)]
    found = read(made(peak(1.0), arms))
    assert len(found.tables) == 2
    assert found.findings[0].sentence.startswith("At s = 0.9: ")
    assert svg_bytes(found.draw()).startswith(b"<?xml")
