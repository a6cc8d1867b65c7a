"""Which prediction ranks the arms, contraction or noise: only among runs of one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsefield.studies.matching import BUDGET, Point
from sparsefield.studies.ranking import (
    LEAST,
    closer,
    partial_rank_correlation,
    rank_correlation,
)
from sparsefield.studies.reading import Finding
from sparsefield.sweep.statistics import NONE, Interval

APART, NOISE = "1 − ρ in the last layer", "noise of the gradient"


def ranked(groups: Sequence[Sequence[Point]], names: Sequence[str]) -> Iterator[Finding]:
    """How the predictions rank the arms of each budget, and of each setting within it."""
    budgets = _budgets(groups)
    for those in budgets:
        several = sum(group[0] in those for group in groups) > 1
        where = _budget(those[0]) if budgets[1:] else "all settings" if several else ""
        yield _closer(those, where)
    yield from _alike(budgets[0] if budgets else [])
    parts = [(list(group), name) for group, name in zip(groups, names, strict=True)]
    own = (part for part in parts if len(part[0]) >= LEAST and part[0] not in budgets)
    yield from (_closer(group, name) for group, name in own)


def which(groups: Sequence[Sequence[Point]]) -> list[str]:
    """Of the budget with most arms, whether accuracy goes with contraction or with noise."""
    budgets = _budgets(groups)
    accuracies, apart, calm = _columns(budgets[0] if budgets else [])
    contraction = partial_rank_correlation(accuracies, apart, calm)
    noise = partial_rank_correlation(accuracies, calm, apart)
    if not (contraction.known and noise.known):
        return []
    if contraction.low <= 0 and noise.low <= 0:
        alike = _rank(rank_correlation(apart, calm))
        return [
            f"Whether slower contraction or less noise of the gradient does it, {len(apart)} arms "
            f"of one budget do not say: the rank correlation of the two is {alike}."
        ]
    return [
        f"Over {len(apart)} arms of one budget accuracy goes with {_cause(contraction, noise)}: "
        f"partial rank correlation {_rank(contraction)} with slower contraction, {_rank(noise)} "
        "with less noise, the other held."
    ]


def _cause(contraction: Interval, noise: Interval) -> str:
    if contraction.low > 0 and noise.low > 0:
        return "both slower contraction and less noise of the gradient"
    if noise.low > 0:
        return "less noise of the gradient, and is not told to go with slower contraction"
    return "slower contraction, and is not told to go with less noise of the gradient"


def _budgets(groups: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """The arms by how long they were trained, the budget of most arms first."""
    found: dict[str, list[Point]] = {}
    for point in (point for group in groups for point in group):
        found.setdefault(str([point.arm[name] for name in BUDGET]), []).append(point)
    return sorted(found.values(), key=len, reverse=True)


def _budget(point: Point) -> str:
    name = "steps" if point.arm["steps"] is not None else "epochs"
    return f"all of {point.arm[name]} {name}"


def _closer(those: Sequence[Point], where: str) -> Finding:
    """Which of the two predictions ranks the arms better."""
    accuracies, apart, calm = _columns(those)
    found = closer(accuracies, apart, calm)
    one, other = rank_correlation(accuracies, apart), rank_correlation(accuracies, calm)
    place = f", {where}," if where else ""
    if found.n < LEAST:
        return Finding(f"Too few arms{place} have a result to be ranked.", NONE)
    return Finding(
        f"Over {len(accuracies)} arms{place} test accuracy goes {_than(found)}: rank correlations "
        f"{_rank(one)} with the predicted {APART} and "
        f"{_rank(other)} with the predicted {NOISE}, sign turned; difference "
        f"{_rank(found)} (arms resampled).",
        found,
    )


def _than(found: Interval) -> str:
    if not found.excludes(0.0):
        return "no more closely, as far as can be told, with one prediction than with the other"
    one, other = ("contraction", "noise") if found.estimate > 0 else ("noise", "contraction")
    return f"more closely with the predicted {one} than with the {other}"


def _alike(those: Sequence[Point]) -> list[Finding]:
    """How alike the predictions are."""
    _, apart, calm = _columns(those)
    alike = rank_correlation(apart, calm)
    if alike.n < LEAST:
        return []
    return [
        Finding(
            "The two predictions, noise with its sign turned, have between them a rank correlation "
            f"of {_rank(alike)}: the nearer to 1, the less can these arms tell them apart.",
            alike,
        ),
    ]


def _columns(those: Sequence[Point]) -> tuple[list[float], list[float], list[float]]:
    """Accuracy, predicted 1 - rho, and noise with its sign turned, of arms with a result."""
    made = [point for point in those if point.arm.by_seed()]
    return (
        [point.arm.mean().estimate for point in made],
        [_apart(point) for point in made],
        [-_noise(point) for point in made],
    )


def _apart(point: Point) -> float:
    return point.prediction.apart


def _noise(point: Point) -> float:
    return point.prediction.noise


def _rank(found: Interval) -> str:
    return found.show(1, 2, signed=True).replace("-", "−")
