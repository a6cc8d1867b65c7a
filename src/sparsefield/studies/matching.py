"""Arms beside what theory predicts of them, and pairs of arms of which it predicts the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sparsefield.studies import contrasts
from sparsefield.studies.arms import Arm
from sparsefield.studies.predictions import Prediction, predicted
from sparsefield.sweep.statistics import Interval

NEAR = 1.25  # two predictions agree if their ratio is no further from 1 than this
BUDGET = ("steps", "epochs", "batch")  # how long a run is trained
_PLACES = ("depth", "skip")
_NETWORK = ("family", "sparsity", "q", "clip", "m", "slope", "chi1")


@dataclass(frozen=True)
class Point:
    """An arm and its prediction."""

    arm: Arm
    prediction: Prediction

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return int(self.arm["depth"])

    @property
    def skip(self) -> float:
        """alpha^2."""
        return float(self.arm["skip"])


@dataclass(frozen=True)
class Pair:
    """An arm with the skip, and one without."""

    skipping: Point
    plain: Point

    @property
    def arms(self) -> tuple[Arm, Arm]:
        """That without the skip, and that with it."""
        return self.plain.arm, self.skipping.arm


Quantity = Callable[[Point], float]


def settings(arms: Iterable[Arm]) -> list[list[Point]]:
    """Arms of which theory predicts something, by all but depth, skip and tuned fields.

    The setting of most arms comes first; each by skip and depth.
    """
    groups: dict[str, list[Point]] = {}
    for arm in arms:
        prediction = predicted(arm.config)
        if prediction is not None:
            groups.setdefault(_setting(arm), []).append(Point(arm, prediction))
    largest = sorted(groups.values(), key=len, reverse=True)
    return [sorted(group, key=lambda point: (point.skip, point.depth)) for group in largest]


def at_equal_depth(points: Sequence[Point]) -> list[Pair]:
    """Each arm with the skip and the arm without it at the same depth."""
    plain = {point.depth: point for point in points if not point.skip}
    return [Pair(p, plain[p.depth]) for p in points if p.skip and p.depth in plain]


def at_equal(quantity: Quantity, points: Sequence[Point]) -> list[Pair]:
    """Each arm with the skip and the arm without it that is nearest in a predicted quantity.

    Left out where the nearest differs by more than a quarter (``NEAR``).
    """
    plain = [point for point in points if not point.skip]
    if not plain:
        return []
    nearest = [_nearest(quantity, point, plain) for point in points if point.skip]
    return [pair for pair in nearest if ratio(quantity, pair) <= NEAR]


def by_width(settings: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """Arms that differ in width, at one depth, skip and budget, from the narrowest.

    Theory predicts the same contraction of all of them, at infinite width. Those with a seed in
    common with the narrowest; none where there is one width.
    """
    cells: dict[str, dict[int, Point]] = {}
    for point in (point for group in settings for point in group if point.arm.by_seed()):
        cells.setdefault(_all_but_width(point), {}).setdefault(point.arm["width"], point)
    sorts = ([cell[width] for width in sorted(cell)] for cell in cells.values())
    return [kept for cell in sorts if (kept := _with_common_seed(cell))[1:]]


def widest(settings: Sequence[Sequence[Point]]) -> list[tuple[Point, Point]]:
    """The narrowest and the widest of each :func:`by_width`: each arm once at most."""
    return [(cell[0], cell[-1]) for cell in by_width(settings)]


def ratio(quantity: Quantity, pair: Pair) -> float:
    """The larger over the smaller of a predicted quantity; infinite where one is not positive."""
    low, high = sorted((quantity(pair.skipping), quantity(pair.plain)))
    return high / low if low > 0.0 and math.isfinite(high) else math.inf


def gained(pairs: Sequence[Pair]) -> Interval:
    """Test accuracy with the skip less that without, seeds paired, mean over the pairs."""
    return contrasts.between(pair.arms for pair in pairs)


def comparable(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that have a seed in common."""
    return [pair for pair in pairs if contrasts.comparable([pair.arms])]


def _nearest(quantity: Quantity, point: Point, plain: Sequence[Point]) -> Pair:
    pairs = [Pair(point, other) for other in plain]
    return min(pairs, key=lambda pair: ratio(quantity, pair))


def _all_but_width(point: Point) -> str:
    return repr([point.arm[name] for name in (*_PLACES, *_NETWORK, *BUDGET)])


def _with_common_seed(cell: Sequence[Point]) -> list[Point]:
    return [cell[0], *(p for p in cell[1:] if contrasts.comparable([(cell[0].arm, p.arm)]))]


def _setting(arm: Arm) -> str:
    left_out = (*_PLACES, *arm.tuned)
    return repr(sorted((name, str(arm[name])) for name in arm.config if name not in left_out))
