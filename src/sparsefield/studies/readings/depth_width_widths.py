"""What width does at equal depth, skip and budget, where theory predicts the same contraction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import starmap
from statistics import fmean

from sparsefield.studies.arms import Arm
from sparsefield.studies.contrasts import between, listed, nested
from sparsefield.studies.matching import Point, widest
from sparsefield.studies.reading import Finding, change, headed, points, seeds
from sparsefield.sweep.statistics import Interval

_MOST = 2  # findings
_NOTE = (
    " The prediction of contraction is of infinite width: noise stands here for all that width "
    "changes."
)
_TRAINING = ("optimizer", "lr")
Widths = Sequence[tuple[Point, Point]]


def with_width(groups: Sequence[Sequence[Point]]) -> list[str]:
    """What width does, over all depths and skips, in a sentence."""
    pairs = widest(groups)
    if not pairs:
        return []
    return [
        f"{_times(pairs)} the width, at equal depth and skip, so at equal predicted contraction "
        f"and {_calmer(pairs)}, test accuracy {_told(pairs, between(_sides(pairs)))}."
    ]


def widths(groups: Sequence[Sequence[Point]]) -> list[Finding]:
    """The same by skip, those of most pairs."""
    pairs = widest(groups)
    by_skip = Counter(narrow.skip for narrow, _ in pairs)
    skips = [skip for skip, _ in by_skip.most_common(_MOST)]
    notes = (_NOTE, *[""] * len(skips))
    return [
        _of_skip([pair for pair in pairs if pair[0].skip == skip], skip, note)
        for skip, note in zip(skips, notes, strict=False)
    ]


def _of_skip(pairs: Widths, skip: float, note: str) -> Finding:
    found = between(_sides(pairs))
    where = f"With skip {skip:g}" if skip else "Without the skip"
    named = dict.fromkeys((wide.arm["width"], narrow.arm["width"]) for narrow, wide in pairs)
    return Finding(
        f"{where}, with width {' or '.join(starmap('{} for {}'.format, named))}, at equal depth "
        f"({listed(narrow.depth for narrow, _ in pairs)}), so at equal predicted contraction and "
        f"{_calmer(pairs)}, test accuracy {_told(pairs, found)}.{note}",
        found,
        nested(_sides(pairs)),
    )


def _told(pairs: Widths, found: Interval) -> str:
    count = f"{len(pairs)} pair{'s' if pairs[1:] else ''} of arms"
    return f"{change(found)}: {points(found)} ({count}, {seeds(found.n)}, paired{_unlike(pairs)})"


def _unlike(pairs: Widths) -> str:
    """Wherein the training differs, which a comparison of widths then holds too."""
    names = [name for name in _TRAINING if any(a.arm[name] != b.arm[name] for a, b in pairs)]
    chosen = all(name in a.arm.tuned for name in names for a, _ in pairs)
    if not names:
        return ""
    return (
        f"; {' and '.join(map(headed, names))} {'chosen for each' if chosen else 'differing too'}"
    )


def _times(pairs: Widths) -> str:
    factors = [wide.arm["width"] / narrow.arm["width"] for narrow, wide in pairs]
    low, high = min(factors), max(factors)
    return f"With {low:.2g} times" if low == high else f"With {low:.2g} to {high:.2g} times"


def _calmer(pairs: Widths) -> str:
    noises = [(narrow.prediction.noise, wide.prediction.noise) for narrow, wide in pairs]
    less = [narrow / wide for narrow, wide in noises if wide > 0 and narrow < float("inf")]
    factor = f"{fmean(less):.1f} times less noise" if less else "other noise"
    return f"{factor} of the gradient"


def _sides(pairs: Widths) -> list[tuple[Arm, Arm]]:
    return [(narrow.arm, wide.arm) for narrow, wide in pairs]
