"""The scale identity of q*, as it shows in configs and in the runs of one seed.

phi_{c tau, c m}(c x) = c phi_{tau, m}(x), so a network in units c (biases, thresholds, clips and
first layer times c, head divided by c) has the same logits, and training keeps them the same if its
learning rates are scaled too. Under one learning rate a network of q* c^2 therefore is one of q*
with other factors: a head c times larger at the start and a faster one, slower biases and a slower
first layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from sparsefield.studies.arms import Arm
from sparsefield.studies.record import Row

FACTORS = ("head_gain", "lr_head", "lr_bias", "lr_first")
OUTCOMES = ("test_accuracy", "train_loss")
# Adam divides by the size of the gradient, so its rates scale as the weights, not their squares.
_POWER = {"sgd": 2}


@dataclass(frozen=True)
class Coincidence:
    """How far the outcomes of runs that should be one and the same agree.

    Attributes
    ----------
    pairs, equal
        pairs of runs of one seed; those in which every outcome recorded is the same.
    largest
        the largest relative difference of an outcome.
    """

    pairs: int
    equal: int
    largest: float


def amounts_to(ratio: float, optimizer: str) -> dict[str, float]:
    """The factors at q* with which a network is that of ``ratio`` q* under one learning rate.

    >>> amounts_to(16, "sgd")
    {'head_gain': 4.0, 'lr_head': 16.0, 'lr_bias': 0.0625, 'lr_first': 0.0625}
    """
    c = math.sqrt(ratio)
    rate = c ** _POWER.get(optimizer, 1)
    return {"head_gain": c, "lr_head": rate, "lr_bias": 1 / rate, "lr_first": 1 / rate}


def factors(config: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, float]:
    """The factors in which one config differs from another."""
    return {name: config[name] / plain[name] for name in FACTORS if config[name] != plain[name]}


def part_of(found: Mapping[str, float], whole: Mapping[str, float]) -> bool:
    """Whether there are factors, each that of the whole."""
    return bool(found) and all(math.isclose(found[name], whole[name]) for name in found)


def identical(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the second config, of a larger q*, is the first in larger units."""
    if not other["q"] > one["q"] or not _scales(one):
        return False
    ratio = other["q"] / one["q"]
    found = factors(one, other)
    whole = amounts_to(ratio, one["optimizer"])
    return set(found) == set(whole) and part_of(found, whole) and _alike(one, other, ratio)


def identity_pairs(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Arms that are one network in two units, the smaller q* first."""
    return [(a, b) for a, b in permutations(arms, 2) if identical(a.config, b.config)]


def coincidence(pairs: Sequence[tuple[Arm, Arm]]) -> Coincidence:
    """Compare every outcome that both runs of a seed have, to the digits recorded."""
    found = [
        largest
        for one, other in pairs
        for a, b in _by_seed(one, other)
        if (largest := _difference(a, b)) is not None
    ]
    return Coincidence(len(found), found.count(0.0), max(found, default=math.nan))


def told_factors(found: Mapping[str, float]) -> list[str]:
    """The factors of a larger q*, in words.

    >>> told_factors({"head_gain": 4.0, "lr_bias": 0.0625, "lr_first": 0.0625})
    ['larger logits (× 4)', 'slower biases and first layer (× 1/16)']
    """
    words = []
    if "head_gain" in found:
        words.append(f"larger logits ({_times(found['head_gain'])})")
    if "lr_head" in found:
        words.append(f"a faster head ({_times(found['lr_head'])})")
    slow = [name for name in ("lr_bias", "lr_first") if name in found]
    if slow:
        what = " and ".join({"lr_bias": "biases", "lr_first": "first layer"}[n] for n in slow)
        words.append(f"slower {what} ({_times(found[slow[0]])})")
    return words


def _scales(config: Mapping[str, Any]) -> bool:
    """Whether nothing knows the units: PyTorch's weights, decay and clipped gradients do."""
    known = config["weight_decay"] or config["grad_clip"] is not None
    return config["init"] == "eoc" and not known


def _alike(one: Mapping[str, Any], other: Mapping[str, Any], ratio: float) -> bool:
    """Whether the rest of two configs is the same, absolute clip heights as their units."""
    apart = {name for name in one if one[name] != other[name]} - {"q", *FACTORS}
    if apart == {"m"} and None not in (one["m"], other["m"]):
        return math.isclose(other["m"], one["m"] * math.sqrt(ratio))
    return not apart and one["m"] is None


def _by_seed(one: Arm, other: Arm) -> Iterator[tuple[Row, Row]]:
    rows = {row.seed: row for row in other.rows}
    return ((row, rows[row.seed]) for row in one.rows if row.seed in rows)


def _difference(one: Row, other: Row) -> float | None:
    """The largest relative difference of the outcomes that both have; None if there is none."""
    values = [(one[name], other[name]) for name in OUTCOMES]
    both = [(a, b) for a, b in values if a is not None and b is not None]
    found = [abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in both]
    return max(found, default=None)


def _times(factor: float) -> str:
    return f"× {factor:g}" if factor >= 1 else f"× 1/{1 / factor:g}"
