"""Depth, width and the skip: its effect at each depth, and what of it theory accounts for.

Theory says two things of the skip alpha^2: two inputs come close 1 / (1 - alpha^2) times more
slowly, and the growth of gradients varies less from network to network. If one of them is all that
the skip does, a network with it is as accurate as one without it of which theory says the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from sparsefield.pictures.plotting import styled
from sparsefield.studies.arms import arms, best_of
from sparsefield.studies.contrasts import (
    between,
    failing,
    listed,
    nested,
    told_change,
)
from sparsefield.studies.matching import (
    NEAR,
    Pair,
    Point,
    Quantity,
    at_equal,
    at_equal_depth,
    comparable,
    gained,
    ratio,
    settings,
    widest,
)
from sparsefield.studies.prediction_drawing import draw
from sparsefield.studies.prediction_tables import (
    arms_and_predictions,
    skip_effects,
    skip_matches,
    width_effects,
)
from sparsefield.studies.predictions import INPUTS
from sparsefield.studies.reading import (
    Finding,
    Reading,
    change,
    points,
    seeds,
    told,
)
from sparsefield.studies.readings.depth_width_ranks import (
    APART,
    NOISE,
    ranked,
    which,
)
from sparsefield.studies.readings.depth_width_widths import widths, with_width
from sparsefield.studies.record import Record
from sparsefield.sweep.statistics import NONE, Interval

_NAMED = ("family", "width", "sparsity", "q", "clip")
_SMALL = 0.5  # of an effect: an interval that reaches farther could hold most of it
_AS_FAR = " as far as can be told"


def read(record: Record) -> Reading:
    """The skip at equal depth, contraction and noise; what ranks the arms; every depth."""
    groups = settings(arms(record))
    names = _names(groups)
    findings = [
        *_headline(groups),
        *_taken_apart(groups, names),
        *_by_depth(groups[0] if groups else []),
    ]
    findings += chain.from_iterable(map(_deepest, groups[1:], names[1:]))
    findings.sort(key=lambda finding: not finding.interval.n)  # what cannot be said comes last
    return Reading(
        tuple(findings),
        (
            *(arms_and_predictions(group, name) for group, name in zip(groups, names, strict=True)),
            skip_effects(groups, names),
            skip_matches(groups, names, _apart),
            *width_effects(widest(groups)),
        ),
        lambda: styled(lambda: draw(groups, names)),
        "Test accuracy over depth and, where several widths were run, over width, one colour a "
        "skip; and by colour over what theory predicts at initialisation: how far two inputs of "
        f"correlation {INPUTS:g} are still apart in the last layer (infinite width), and how much "
        "the log of squared gradients varies from network to network of this width (sd); open "
        "marks: no skip. Marks: means; bars: 95 % intervals; faint dots: seeds.",
    )


def _headline(groups: Sequence[Sequence[Point]]) -> list[Finding]:
    """What the skip adds to the deepest, what is left at equal contraction, and the cause."""
    those = groups[0] if groups else []
    depth, pairs = _deepest_pairs(those)
    if not pairs:
        return []
    best = best_of([pair.skipping.arm for pair in pairs])
    sides = [(pairs[0].plain.arm, best)]
    effect = between(sides)
    sentences = (
        f"At depth {depth}, with skip {best['skip']:g}, test accuracy {told_change(effect)}.",
        *_kept(those, pairs, best["skip"]),
        *with_width(groups),
        *which(groups),
    )
    return [Finding(" ".join(sentences), effect, nested(sides))]


def _deepest_pairs(those: Sequence[Point]) -> tuple[int, list[Pair]]:
    pairs = comparable(at_equal_depth(those))
    depth = max((pair.plain.depth for pair in pairs), default=0)
    return depth, [pair for pair in pairs if pair.plain.depth == depth]


def _kept(those: Sequence[Point], pairs: Sequence[Pair], skip: float) -> list[str]:
    """What one skip of these pairs keeps beside a shallower network: this skip, or the strongest.

    Nothing is said of other arms, nor where there is nothing to keep.
    """
    total = {id(pair.skipping): gained([pair]) for pair in pairs}
    matched = comparable(at_equal(_apart, those))
    matched = [
        pair
        for pair in matched
        if id(pair.skipping) in total and total[id(pair.skipping)].excludes(0.0)
    ]
    if not matched:
        return []
    pair = max(matched, key=lambda pair: (pair.skipping.skip == skip, pair.skipping.skip))
    alike = "contraction and noise" if ratio(_noise, pair) <= NEAR else "contraction"
    return [
        f"Beside depth {pair.plain.depth} without it, of equal predicted {alike}, skip "
        f"{pair.skipping.skip:g} at depth {pair.skipping.depth} keeps {_bare(gained([pair]))} of "
        f"its {points(total[id(pair.skipping)])}."
    ]


def _taken_apart(groups: Sequence[Sequence[Point]], names: Sequence[str]) -> list[Finding]:
    return [
        *widths(groups),
        _left(groups, (_apart, APART), (_noise, NOISE)),
        _left(groups, (_noise, NOISE), (_apart, APART)),
        *ranked(groups, names),
    ]


def _left(
    groups: Sequence[Sequence[Point]], held: tuple[Quantity, str], free: tuple[Quantity, str]
) -> Finding:
    """What the skip adds at equal depth, and what is left of it at equal predicted ``held``."""
    quantity, name = held
    pairs = comparable([pair for group in groups for pair in at_equal(quantity, group)])
    if not pairs:
        return Finding(f"No arms with and without the skip have one predicted {name}.", NONE)
    those = {id(pair.skipping) for pair in pairs}
    deep = [p for g in groups for p in at_equal_depth(g) if id(p.skipping) in those]
    left, total = gained(pairs), gained(deep)
    times = max(pair.skipping.depth / pair.plain.depth for pair in pairs)
    factor = fmean(ratio(free[0], pair) for pair in pairs)
    too = (
        f", or with the {free[1]}, which agrees too (by a factor of {factor:.2f})"
        if factor <= NEAR
        else ""
    )
    return Finding(
        f"With {_which_skips(pairs)}, at equal depth, test accuracy {change(total)}: "
        f"{points(total)}. Beside networks without a skip of equal predicted {name} (within a "
        f"quarter), up to {times:.2g} times shallower, it {change(left)}: {points(left)} "
        f"({_count(len(pairs), 'pair')} of arms, {seeds(left.n)}, paired{_all_fail(pairs)})"
        f"{_verdict(pairs, left, total, too)}.",
        left,
        nested(pair.arms for pair in pairs),
    )


def _which_skips(pairs: Sequence[Pair]) -> str:
    """The arms with the skip of these pairs."""
    depths: dict[float, list[float]] = {}
    for pair in pairs:
        depths.setdefault(pair.skipping.skip, []).append(pair.skipping.depth)
    return ", ".join(f"skip {skip:g} at depth {listed(depths[skip])}" for skip in sorted(depths))


def _all_fail(pairs: Sequence[Pair]) -> str:
    lost = sum(pair.skipping.arm.failed == pair.skipping.arm.n for pair in pairs)
    return f"; in {lost} of them all runs with the skip fail" if lost else ""


def _verdict(pairs: Sequence[Pair], left: Interval, total: Interval, too: str) -> str:
    """What the two effects say of the prediction that was held, and of one that agrees with it."""
    if not (left.known and total.excludes(0.0)):
        return ""
    reach = max(abs(left.low), abs(left.high)) / abs(total.estimate)
    part = left.estimate / total.estimate
    if not left.excludes(0.0) and reach >= _SMALL:
        return "; the interval is too wide to say what becomes of the effect"
    if not left.excludes(0.0):
        alone = _alone(pairs)
        return f"; so {'most of ' * bool(alone)}the effect goes with it{too}{alone or _AS_FAR}"
    if part < 0.0:
        return f"; so the deeper networks fall short of what it predicts{_alone(pairs)}"
    if part < _SMALL:
        return f"; so all but {100 * part:.0f} % of the effect goes with it{too}{_alone(pairs)}"
    return f"; so {100 * part:.0f} % of the effect is left to something else"


def _alone(pairs: Sequence[Pair]) -> str:
    """What pairs keep that say something alone, which a mean over them may hide."""
    told = [found for pair in pairs if (found := gained([pair])).excludes(0.0)]
    if not told or not pairs[1:]:
        return ""
    kept = sorted(100 * found.estimate for found in told)
    ends = dict.fromkeys(f"{end:+.1f}".replace("-", "−") for end in (kept[0], kept[-1]))
    return f"; {len(told)} of {len(pairs)} pairs alone keep {' to '.join(ends)} points"


def _by_depth(those: Sequence[Point]) -> list[Finding]:
    pairs = comparable(at_equal_depth(those))
    if not pairs:
        return [_best(those)] if those else []
    by_skip = Counter(pair.skipping.skip for pair in pairs)
    skip = max(by_skip, key=lambda skip: (by_skip[skip], skip))
    plain = [point for point in those if not point.skip]
    deepest = max(point.depth for point in those)
    there = [point for point in those if point.depth == deepest]
    return [
        *(_effect(pair) for pair in pairs if pair.skipping.skip == skip),
        _best(plain, " without the skip", ("depth",)),
        _best(there, f" at depth {deepest}", ("skip",)),
        *(_failing(point) for point in there if point.skip in (0.0, skip)),
    ]


def _effect(pair: Pair, name: str = "") -> Finding:
    """What the skip adds at one depth."""
    found, plain = gained([pair]), pair.plain.arm
    where = f"{_capital(name)}, at" if name else "At"
    return Finding(
        f"{where} depth {pair.plain.depth}, with skip {pair.skipping.skip:g}, test accuracy "
        f"{told_change(found)}, from {plain.mean().show(100)} % without it"
        f"{_failed(pair) if name else ''}.",
        found,
        nested([pair.arms]),
    )


def _failed(pair: Pair) -> str:
    with_it, plain = pair.skipping.arm, pair.plain.arm
    return (
        f"; {with_it.failed} of {with_it.n} runs fail with it, {plain.failed} of {plain.n} without"
    )


def _best(
    those: Sequence[Point], where: str = "", fields: Sequence[str] = ("depth", "skip")
) -> Finding:
    """The arm that validation would choose of these."""
    best = best_of([point.arm for point in those])
    found = best.mean()
    return Finding(
        f"The arm chosen by validation{where} is {told(best, fields)}: "
        f"{found.show(100)} % test accuracy ({seeds(found.n)}).",
        found,
    )


def _failing(point: Point) -> Finding:
    said, rate = failing(point.arm.rows)
    return Finding(f"At {told(point.arm, ('depth', 'skip'))}, {said}.", rate)


def _deepest(group: Sequence[Point], name: str) -> list[Finding]:
    """What the skip adds to the deepest networks of a setting."""
    return [_effect(pair, name) for pair in _deepest_pairs(group)[1]]


def _names(groups: Sequence[Sequence[Point]]) -> list[str]:
    """What sets each setting apart."""
    firsts = [group[0].arm for group in groups]
    fields = [name for name in _NAMED if len({str(arm[name]) for arm in firsts}) > 1]
    return [told(arm, fields) or "the one setting" for arm in firsts]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _apart(point: Point) -> float:
    return point.prediction.apart


def _noise(point: Point) -> float:
    return point.prediction.noise


def _bare(found: Interval) -> str:
    return points(found).removesuffix(" points")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
