"""What a larger q* is made of: planted parts are found, and only those."""

import math
from dataclasses import replace

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read
from sparsefield.studies.scale_identity import identical
from sparsefield.train import TrainConfig

SGD = {"optimizer": "sgd", "clip": 1.1, "head_gain": 3.0}
WHOLE = {"head_gain": 12.0, "lr_head": 16.0, "lr_bias": 1 / 16, "lr_first": 1 / 16}
RATES = (1e-3, 1e-2)


def grid(**values):
    return [{**SGD, "q": q, "lr": lr, **values} for q in (0.25, 1.0, 4.0, 16.0) for lr in RATES]


APART = [
    {"head_gain": 12.0},
    {"lr_head": 16.0},
    {"lr_bias": 1 / 16, "lr_first": 1 / 16},
    {"head_gain": 12.0, "lr_head": 16.0},
]
PARTS = {
    "ratio": grid(),
    "height": [
        {"optimizer": "sgd", "m": 2.2, "head_gain": 3.0, "q": q, "lr": lr}
        for q in (1.0, 2.0, 16.0)
        for lr in RATES
    ],
    "apart": [{**SGD, "q": 1.0, "lr": lr, **part} for part in APART for lr in RATES],
    "identity": [{**SGD, "q": 16.0, "lr": 1e-3}, {**SGD, "q": 1.0, "lr": 1e-3, **WHOLE}],
}


@pytest.fixture
def reading(invented):
    """Read a record of some parts, the runs of each by a function of the config."""

    def read_parts(measure, parts=PARTS, seeds=5):
        made = {
            part: invented(arms, measure, study="qstar-mechanism", seeds=seeds)
            for part, arms in parts.items()
        }
        rows = [replace(row, part=part) for part, record in made.items() for row in record.rows]
        return read(
            replace(
                next(iter(made.values())),
                rows=tuple(rows),
                digests=dict.fromkeys(parts, ""),
                fields={part: record.fields["plane"] for part, record in made.items()},
            )
        )

    return read_parts


def planted(*, q=0.0, logits=0.0, head=0.0, slow=0.0, rate=0.0, clip=0.0):
    """Accuracy by what a run has; the lower ``rate`` suits all but the largest q*."""

    def measure(config, seed):
        step = math.log(config["q"], 16)
        ratio = config["clip"] or config["m"] / math.sqrt(config["q"])
        accuracy = 0.7 + q * step + clip * math.log2(1.1 / ratio)
        accuracy += logits * (config["head_gain"] > 3) + head * (config["lr_head"] > 1)
        accuracy += slow * (config["lr_bias"] < 1)
        accuracy -= rate * ((config["lr"] > 5e-3) != (config["q"] > 4))
        noise = 0.003 * math.sin(7 * seed + 3 * step + config["head_gain"] + config["lr_head"])
        logits_rms = 0.2 * math.sqrt(config["q"]) * (1 + seed)
        return {"test_accuracy": accuracy + noise, "logit_rms_init": logits_rms}

    return measure


def of_the_network(*, apart=0.0):
    """Outcomes by the seed alone, but that the q* in small units is ``apart`` from itself."""

    def measure(config, seed):
        other = apart if config["q"] == 1 else 0.0
        return {"test_accuracy": 0.7 + 0.01 * seed, "train_loss": 0.25 * (1 + seed) + other}

    return measure


def sentences(found):
    return " ".join(finding.sentence for finding in found.findings)


def finding(found, start):
    (one,) = [one for one in found.findings if one.sentence.startswith(start)]
    return one


@pytest.mark.parametrize(
    ("effect", "word"), [(0.05, "rises"), (-0.05, "falls"), (0.0, "is not told apart")]
)
def test_the_headline_is_the_tuned_effect_at_a_fixed_clip_ratio(reading, effect, word):
    first = reading(planted(q=effect)).findings[0]
    assert f"from q* = 1 to 16, test accuracy {word}" in first.sentence
    assert first.interval.low <= effect <= first.interval.high


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("logits", "larger logits (× 4)"),
        ("head", "a faster head (× 16)"),
        ("slow", "slower biases and first layer (× 1/16)"),
    ],
)
def test_the_part_that_does_it_is_named(reading, part, name):
    found = reading(planted(q=0.05, **{part: 0.05}))
    head = found.findings[0].sentence
    assert f"it rises with {name}, +" in head
    alone = finding(found, f"At q* = 1 with {name} test accuracy rises")
    assert alone.interval.low <= 0.05 <= alone.interval.high
    others = {"logits": "slower", "head": "slower", "slow": "logits"}
    assert others[part] not in head


def test_without_an_effect_no_part_is_named(reading):
    head = reading(planted()).findings[0].sentence
    assert "Of what that amounts to, tried at q* = 1: nothing is told apart" in head


def test_an_effect_that_tuning_removes_is_told_apart_from_one_that_it_does_not(reading):
    """The higher rate suits q* = 16 alone: under that one it looks better, tuned it is not."""
    found = reading(planted(rate=0.2))
    assert "is not told apart" in found.findings[0].sentence
    only = {**PARTS, "ratio": [arm for arm in PARTS["ratio"] if arm["lr"] > 5e-3]}
    untuned = finding(reading(planted(rate=0.2), only), "At a fixed clip ratio under one")
    assert "mean over lr = 0.01, from q* = 1 to 16 test accuracy rises" in untuned.sentence
    rates = finding(found, "From q* = 1 to 16 at a fixed clip ratio the logits").sentence
    assert "0.001 at q* = 1 (the lowest tried)" in rates
    assert "0.01 at q* = 16 (the highest tried)" in rates


@pytest.mark.parametrize("clip", [0.02, 0.0])
def test_what_a_fixed_height_adds(reading, clip):
    """At a fixed m the clip ratio goes down four times from q* = 1 to 16: two doublings."""
    found = reading(planted(q=0.05, clip=clip))
    added = finding(found, "What a fixed m = 2.2, by its shrinking clip ratio")
    assert added.interval.low <= 2 * clip <= added.interval.high
    assert added.interval.excludes(0.0) == bool(clip)
    assert ("not told apart from nothing" in added.sentence) == (not clip)
    assert "clip ratio shrinks from 2.2 to 0.55" in sentences(found)
    both = finding(found, "At q* = 16, from the clip ratio 1.1 to that of the fixed m, 0.55")
    assert ("rises" in both.sentence) == bool(clip)


def test_the_height_that_both_parts_share_is_run_once(reading):
    (table,) = [t for t in reading(planted()).tables if t.title.startswith("At a fixed m")]
    assert [row[0] for row in table.rows] == ["1", "2", "4", "16"]
    assert "q* = 4 is that of the fixed clip ratio" in table.title


def test_one_network_in_two_units_is_compared_to_the_last_digit(reading):
    same = finding(reading(of_the_network()), "By the scale identity")
    assert "5 of 5 (100.0" in same.sentence
    assert same.sentence.endswith("the largest relative difference is 0.")
    other = finding(reading(of_the_network(apart=1e-6)), "By the scale identity")
    assert "0 of 5 (0.0" in other.sentence
    assert other.sentence.endswith("the largest relative difference is 4e-06.")


def test_pairs_are_known_by_the_identity_and_not_by_their_place(reading):
    turned = {**PARTS, "identity": PARTS["identity"][::-1]}
    assert sentences(reading(of_the_network(), turned)) == sentences(reading(of_the_network()))
    one, other = PARTS["identity"]
    broken = {**PARTS, "identity": [one, {**other, "lr_head": 8.0}]}
    assert "No two runs are one network" in sentences(reading(of_the_network(), broken))


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"lr_first": 1.0}, False),
        ({"head_gain": 3.0}, False),
        ({"lr": 2e-3}, False),
        ({"clip": 1.0}, False),
        ({"clip": None, "m": 1.1}, False),
    ],
)
def test_the_identity_holds_for_all_of_it_or_not(change, holds):
    small = TrainConfig(**{**PARTS["identity"][1], **change}).model_dump()
    large = TrainConfig(**PARTS["identity"][0]).model_dump()
    assert identical(small, large) == holds
    assert not identical(large, small)


@pytest.mark.parametrize("both", [{"weight_decay": 1e-3}, {"grad_clip": 1.0}, {"init": "torch"}])
def test_what_knows_the_units_breaks_the_identity(both):
    large, small = (TrainConfig(**arm, **both).model_dump() for arm in PARTS["identity"])
    assert not identical(small, large)


@pytest.mark.parametrize(("height", "holds"), [(1.1, True), (4.4, False)])
def test_absolute_heights_scale_with_the_units(height, holds):
    large = TrainConfig(optimizer="sgd", q=16.0, m=4.4).model_dump()
    small = TrainConfig(optimizer="sgd", q=1.0, m=height, **WHOLE).model_dump()
    assert identical(small, large) == holds


def test_adam_scales_its_rates_by_the_root():
    large = TrainConfig(optimizer="adam", q=16.0).model_dump()
    whole = {"head_gain": 12.0, "lr_head": 4.0, "lr_bias": 0.25, "lr_first": 0.25}
    assert identical(TrainConfig(optimizer="adam", q=1.0, **whole).model_dump(), large)
    assert not identical(TrainConfig(optimizer="adam", q=1.0, **WHOLE).model_dump(), large)


def test_failures_are_counted_by_part(reading):
    def measure(config, seed):
        lost = config["m"] is not None and config["q"] == 1
        return {"failed": lost, "test_accuracy": 0.1 if lost else 0.9}

    said = sentences(reading(measure))
    assert "With a fixed m and the learning rates chosen 5 of 15 runs fail" in said
    assert "With a fixed clip ratio and the learning rates chosen 0 of 20 runs fail" in said


@pytest.mark.parametrize(
    "parts",
    [
        *({name: PARTS[name]} for name in PARTS),
        *({k: v for k, v in PARTS.items() if k != name} for name in PARTS),
        {**PARTS, "ratio": PARTS["ratio"][:1]},
        {**PARTS, "ratio": PARTS["ratio"][-1:]},
        {**PARTS, "height": PARTS["height"][-1:]},
        {**PARTS, "apart": PARTS["apart"][:1]},
        {**PARTS, "identity": PARTS["identity"][:1]},
    ],
)
@pytest.mark.parametrize(("lost", "seeds"), [(True, 2), (False, 1)])
def test_whatever_is_missing_a_reading_stands(reading, parts, lost, seeds):
    measure = (lambda config, seed: None) if lost else planted(q=0.05)
    found = reading(measure, parts, seeds=seeds)
    assert "nan" not in sentences(found)
    assert not lost or "cannot be compared" in found.findings[0].sentence
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    assert svg_bytes(found.draw()).startswith(b"<?xml")
