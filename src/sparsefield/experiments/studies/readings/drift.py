"""How far training moves zeros, q, saturation and chi_1, and which q*, clip and skip hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsefield.experiments.labels import phrase
from sparsefield.experiments.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.experiments.studies.arms import Arm, arms
from sparsefield.experiments.studies.drawing import draw_arms, name_values
from sparsefield.experiments.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    Table,
    arm_table,
    change,
    points,
    seeds,
    told,
)
from sparsefield.experiments.studies.record import Record
from sparsefield.experiments.studies.statistics import BySeed, Interval, mean, pooled, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELDS = ("skip", "q", "clip")
_STRAIGHT = {"skip": 1, "q": 1, "clip": -1}  # the clip is compared from the highest to the lowest


@dataclass(frozen=True)
class Quantity:
    """What training moves: its name, where it begins and ends, and how a shift is shown."""

    name: str
    begins: Callable[[Arm], BySeed]
    ends: Callable[[Arm], BySeed]
    show: Callable[[Interval], str]


def _measured(measure: str) -> Callable[[Arm], BySeed]:
    return lambda arm: arm.by_seed(measure)


def _one(arm: Arm) -> BySeed:
    return dict.fromkeys(arm.by_seed("q_end"), 1.0)  # q = q* at the start, by construction


def _plain(found: Interval) -> str:
    return found.show(1, 3, signed=True).replace("-", "−")


ZEROS = Quantity("share of zeros", _measured("zeros_init"), _measured("zeros_end"), points)
QUANTITIES = (
    ZEROS,
    Quantity("q / q*", _one, _measured("q_end"), _plain),
    Quantity(
        "share at the clip", _measured("saturated_init"), _measured("saturated_end"), points
    ),
    Quantity("χ₁", _measured("chi1_init"), _measured("chi1_end"), _plain),
)


@dataclass(frozen=True)
class Contrast:
    """The arms at one end of a field beside those at the other, all else equal."""

    field: str
    one: Any
    other: Any
    pairs: tuple[tuple[Arm, Arm], ...]

    def __str__(self) -> str:
        return f"from {phrase(self.field, self.one)} to {phrase(self.field, self.other)}"

    def effect(self, of: Callable[[Arm], BySeed]) -> Interval:
        """Paired by seed, mean over the pairs."""
        return pooled([(of(one), of(other)) for one, other in self.pairs])


def read(record: Record) -> Reading:
    """What moves, how far, and what holds it."""
    found = arms(record)
    contrasts = [_contrast(found, field) for field in FIELDS if len(_values(found, field)) > 1]
    return Reading(
        (
            _headline(found, contrasts),
            *(_effect(contrast) for contrast in contrasts),
            *(_moved(found, quantity) for quantity in QUANTITIES),
            *_best(found),
            _failing(found),
        ),
        (
            arm_table(
                "Every arm",
                found,
                FIELDS,
                *("zeros_init", "zeros_end", "zeros_end_last", "q_end"),
                *("saturated_init", "saturated_end", "chi1_init", "chi1_end"),
            ),
            _effects(contrasts),
        ),
        lambda: styled(lambda: _draw(found)),
        "Share of exact zeros after training over q*, without the skip (or with the least) and "
        "with the most, one line a clip; grey: the zeros asked for. Right: test accuracy beside "
        "these zeros, filled without the skip, open with it. Marks: means; bars: 95 % intervals; "
        "faint dots: seeds.",
    )


def _headline(found: Sequence[Arm], contrasts: Sequence[Contrast]) -> Finding:
    """The largest of the effects on how far the zeros move."""
    effects = [(contrast, contrast.effect(_far(ZEROS))) for contrast in contrasts]
    seen = [pair for pair in effects if pair[1].excludes(0.0)]
    if not seen:
        far = _over_arms(found, _far(ZEROS))
        return Finding(
            f"Training moves the share of zeros by {_size(far)} (mean over all arms, either way, "
            f"{seeds(far.n)}); neither q*, clip nor skip is told to hold it better.",
            far,
        )
    contrast, effect = max(seen, key=lambda pair: abs(pair[1].estimate))
    verb = "less far" if effect.estimate < 0 else "farther"
    return Finding(
        f"The largest effect on how far training moves the share of zeros is {contrast}: "
        f"{verb}, by {points(effect)} ({seeds(effect.n)}, paired).",
        effect,
    )


def _effect(contrast: Contrast) -> Finding:
    """One field's effect on how far the zeros move, on where they end, and on accuracy."""
    far = contrast.effect(_far(ZEROS))
    ends, accuracy = contrast.effect(ZEROS.ends), contrast.effect(_measured("test_accuracy"))
    return Finding(
        f"{str(contrast).capitalize()} the distance of the zeros from where they began "
        f"{change(far)}: {points(far)} ({seeds(far.n)}, paired, mean over the rest); the zeros "
        f"end at {points(ends)}, and test accuracy {change(accuracy)}: {points(accuracy)}.",
        far,
    )
