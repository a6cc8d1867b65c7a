"""What sets arms apart: paired effects, the zeros that training moves, and runs that fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsefield.studies.arms import ARE_SHARES, Arm
from sparsefield.studies.reading import change, points, seeds
from sparsefield.studies.record import Row
from sparsefield.sweep.statistics import (
    ANYTHING,
    DIFFERENCES,
    Interval,
    mean,
    pooled,
    share,
)

_FAIL = "runs fail: "


def between(pairs: Iterable[tuple[Arm, Arm]], measure: str = "test_accuracy") -> Interval:
    """The mean over pairs of the second arm less the first, by seed."""
    within = DIFFERENCES if measure in ARE_SHARES else ANYTHING
    return pooled(
        [(one.by_seed(measure), other.by_seed(measure)) for one, other in pairs], within=within
    )


def nested(pairs: Iterable[tuple[Arm, Arm]], measure: str = "test_accuracy") -> Interval | None:
    """The same by nested selection; None where nothing was chosen."""
    picked = picked_by_others(pairs)
    return between(picked, measure) if picked else None


def picked_by_others(pairs: Iterable[tuple[Arm, Arm]]) -> list[tuple[Arm, Arm]]:
    """The pairs by nested selection, see :meth:`Arm.nested`; none where nothing was chosen."""
    pairs = list(pairs)
    if all(len(arm.candidates) < 2 for pair in pairs for arm in pair):
        return []
    return [(one.nested(), other.nested()) for one, other in pairs]


def comparable(pairs: Iterable[tuple[Arm, Arm]]) -> list[tuple[Arm, Arm]]:
    """The pairs that have a seed in common whose runs both have a result."""
    return [(one, other) for one, other in pairs if one.by_seed().keys() & other.by_seed().keys()]


def told_change(effect: Interval) -> str:
    """What a difference of accuracies says, with its interval, after "test accuracy".

    >>> told_change(Interval(0.02, 0.01, 0.03, 5))
    'rises: +2.0 [+1.0, +3.0] points (5 seeds, paired)'
    """
    if not effect.n:
        return change(effect)
    return f"{change(effect)}: {points(effect)} ({seeds(effect.n)}, paired)"


def kept(arms: Sequence[Arm]) -> Interval:
    """Zeros after training less those asked for, by seed over all arms."""
    by_seed: dict[int, list[float]] = {}
    for arm in arms:
        for seed, zeros in arm.by_seed("zeros_end").items():
            by_seed.setdefault(seed, []).append(zeros - arm["sparsity"])
    return mean([sum(values) / len(values) for values in by_seed.values()], within=DIFFERENCES)


def failing(rows: Sequence[Row]) -> tuple[str, Interval]:
    """How many of these runs fail, in words and as a share."""
    failed = sum(bool(row["failed"]) for row in rows)
    rate = share(failed, len(rows))
    return f"{failed} of {len(rows)} {_FAIL}{rate.show(100)} %", rate


def tells_failures(sentence: str) -> bool:
    """Whether a sentence has such a share."""
    return _FAIL in sentence


def rows_of(arms: Iterable[Arm]) -> list[Row]:
    """The runs of several arms."""
    return [row for arm in arms for row in arm.rows]


def listed(values: Iterable[float]) -> str:
    """Each value once, from low to high.

    >>> listed([1e-3, 3e-4, 1e-3])
    '0.0003, 0.001'
    """
    return ", ".join(f"{value:g}" for value in sorted(set(values)))
