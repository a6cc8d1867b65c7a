"""Tables of arms beside what theory predicts of them, and of pairs with and without the skip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from sparsefield.studies.contrasts import between
from sparsefield.studies.matching import (
    Pair,
    Point,
    Quantity,
    at_equal,
    at_equal_depth,
    gained,
)
from sparsefield.studies.reading import Table, arm_table, points
from sparsefield.sweep.statistics import Interval

_PREDICTED = ("predicted 1 − ρ", "predicted noise")


def arms_and_predictions(group: Sequence[Point], title: str) -> Table:
    """Every arm of a setting, with what theory predicts of it."""
    arms = [point.arm for point in group]
    table = arm_table(f"Every arm, {title}", arms, ("depth", "skip"), "zeros_end")
    rows = ((*row, *_prediction(point)) for row, point in zip(table.rows, group, strict=True))
    return Table(table.title, (*table.columns, *_PREDICTED), tuple(rows), table.note)


def skip_effects(groups: Sequence[Sequence[Point]], names: Sequence[str]) -> Table:
    """What each skip adds at each depth."""
    return Table(
        "With the skip less without it, at equal depth",
        ("setting", "depth", "skip α²", "test accuracy, points", "seeds"),
        tuple(
            (name, str(pair.plain.depth), f"{pair.skipping.skip:g}", *_gain(pair))
            for name, pair in _by_name(groups, names, at_equal_depth)
        ),
    )


def skip_matches(
    groups: Sequence[Sequence[Point]], names: Sequence[str], quantity: Quantity
) -> Table:
    """The arms with and without the skip of which theory predicts the same ``quantity``."""
    return Table(
        "With the skip less without it, at equal predicted 1 − ρ (within a quarter)",
        (
            *("setting", "depth", "skip α²", "depth without"),
            *(f"{name}, {which}" for name in _PREDICTED for which in ("with", "without")),
            *("test accuracy, points", "seeds"),
        ),
        tuple(
            (name, *_match(pair), *_gain(pair))
            for name, pair in _by_name(groups, names, lambda group: at_equal(quantity, group))
        ),
    )


def width_effects(pairs: Sequence[tuple[Point, Point]]) -> list[Table]:
    """What the widest adds to the narrowest of each depth and skip; none without such pairs."""
    rows = tuple(
        (
            *(str(narrow.depth), f"{narrow.skip:g}", str(wide.arm["width"])),
            *(str(narrow.arm["width"]), *_prediction(wide), _prediction(narrow)[1]),
            *_difference(between([(narrow.arm, wide.arm)])),
        )
        for narrow, wide in pairs
    )
    if not rows:
        return []
    return [
        Table(
            "The widest less the narrowest, at equal depth, skip and budget",
            (
                *("depth", "skip α²", "width", "less width", _PREDICTED[0]),
                *(f"{_PREDICTED[1]}, {which}" for which in ("wider", "narrower")),
                *("test accuracy, points", "seeds"),
            ),
            rows,
            "The predicted 1 − ρ is of infinite width, and so the same for both; at a narrow width "
            "it may be less than that. The noise stands here for all that width changes.",
        )
    ]


def _by_name(
    groups: Sequence[Sequence[Point]],
    names: Sequence[str],
    pairs_of: Callable[[Sequence[Point]], list[Pair]],
) -> Iterator[tuple[str, Pair]]:
    for group, name in zip(groups, names, strict=True):
        yield from ((name, pair) for pair in pairs_of(group))


def _match(pair: Pair) -> tuple[str, ...]:
    one, other = _prediction(pair.skipping), _prediction(pair.plain)
    return (
        *(str(pair.skipping.depth), f"{pair.skipping.skip:g}", str(pair.plain.depth)),
        *(one[0], other[0], one[1], other[1]),
    )


def _gain(pair: Pair) -> tuple[str, str]:
    return _difference(gained([pair]))


def _difference(found: Interval) -> tuple[str, str]:
    return points(found).removesuffix(" points"), str(found.n)


def _prediction(point: Point) -> tuple[str, str]:
    noise = point.prediction.noise
    return f"{point.prediction.apart:.2g}", f"{noise:.2g}" if math.isfinite(
        noise
    ) else "none passes"
