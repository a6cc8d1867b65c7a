"""Depth, width and the skip: its effect at each depth, and what of it theory accounts for.

Theory says two things of the skip alpha^2: two inputs come close 1 / (1 - alpha^2) times more
slowly, and the growth of gradients varies less from network to network. If one of them is all that
the skip does, a network with it is as accurate as one without it of which theory says the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from statistics import fmean

from sparsefield.experiments.plotting import styled
from sparsefield.experiments.studies.arms import arms
from sparsefield.experiments.studies.contrasts import between, failing, nested
from sparsefield.experiments.studies.matching import (
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
    wider,
)
from sparsefield.experiments.studies.prediction_drawing import draw
from sparsefield.experiments.studies.prediction_tables import (
    arms_and_predictions,
    skip_effects,
    skip_matches,
)
from sparsefield.experiments.studies.predictions import INPUTS
from sparsefield.experiments.studies.reading import (
    Finding,
    Reading,
    change,
    headed,
    points,
    seeds,
    told,
)
from sparsefield.experiments.studies.readings.depth_width_ranks import (
    APART,
    NOISE,
    ranked,
    same_budget,
    which,
)
from sparsefield.experiments.studies.record import Record
from sparsefield.experiments.studies.statistics import NONE, Interval

_NAMED = ("family", "width", "sparsity", "q", "clip")
_TRAINING = ("steps", "epochs", "batch", "optimizer", "lr")
_SMALL = 0.5  # of an effect: an interval that reaches farther could hold most of it


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
        ),
        lambda: styled(lambda: draw(groups, names)),
        "Test accuracy over depth, and over what theory predicts at initialisation, one colour a "
        f"skip: how far two inputs of correlation {INPUTS:g} are still apart in the last layer "
        "(infinite width), and how much the growth of gradients varies between networks of this "
        "width. Marks: means; bars: 95 % intervals; faint dots: seeds.",
    )


def _headline(groups: Sequence[Sequence[Point]]) -> list[Finding]:
    """What the skip adds to the deepest, what is left of it at equal contraction, and the cause."""
    depth, pairs = _deepest_pairs(groups[0] if groups else [])
    if not pairs:
        return []
    pair = max(pairs, key=lambda pair: pair.skipping.arm.validated())
    effect = gained([pair])
    return [
        Finding(
            f"At depth {depth}, with skip {pair.skipping.skip:g}, test accuracy {change(effect)}: "
            f"{points(effect)}{_beside_shallower(groups)}.{which(groups)}",
            effect,
            nested([pair.arms]),
        )
    ]


def _deepest_pairs(those: Sequence[Point]) -> tuple[int, list[Pair]]:
    pairs = comparable(at_equal_depth(those))
    depth = max((pair.plain.depth for pair in pairs), default=0)
    return depth, [pair for pair in pairs if pair.plain.depth == depth]


def _beside_shallower(groups: Sequence[Sequence[Point]]) -> str:
    pairs = comparable([pair for group in groups for pair in at_equal(_apart, group)])
    if not pairs:
        return ""
    left = gained(pairs)
    return (
        "; beside shallower networks without it, of equal predicted contraction, it "
        f"{change(left)}: {points(left)} ({seeds(left.n)}, paired"
        f"{_alone(gained([pair]) for pair in pairs)})"
    )


def _taken_apart(groups: Sequence[Sequence[Point]], names: Sequence[str]) -> list[Finding]:
    return [
        _left(groups, (_apart, APART), (_noise, NOISE)),
        _left(groups, (_noise, NOISE), (_apart, APART)),
        *ranked(groups, names),
        *_wider(wider(groups)),
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
        f", or the {free[1]}, which agrees too (by a factor of {factor:.2f}),"
        if factor <= NEAR
        else ""
    )
    return Finding(
        f"With the skip, at equal depth, test accuracy {change(total)}: {points(total)}. Beside "
        f"networks without it of equal predicted {name} (within a quarter), up to {times:.2g} "
        f"times shallower, it {change(left)}: {points(left)} ({_count(len(pairs), 'pair')} of "
        f"arms, {seeds(left.n)}, paired{_alone(gained([pair]) for pair in pairs)})"
        f"{_verdict(left, total, f'it{too} accounts')}.",
        left,
        nested(pair.arms for pair in pairs),
    )


def _alone(effects: Iterable[Interval]) -> str:
    """How many pairs say something alone, which a mean over them may hide."""
    found = list(effects)
    up, down = sum(one.low > 0.0 for one in found), sum(one.high < 0.0 for one in found)
    return f"; of {len(found)} pairs alone {up} rise, {down} fall" if found[1:] else ""


def _verdict(left: Interval, total: Interval, cause: str) -> str:
    """What the two effects say of the prediction that was held, and of one that agrees with it."""
    if not (left.known and total.excludes(0.0)):
        return ""
    reach = max(abs(left.low), abs(left.high)) / abs(total.estimate)
    if not left.excludes(0.0):
        wide = "; the interval is too wide to say what accounts for the effect"
        return f"; so {cause} for the effect as far as can be told" if reach < _SMALL else wide
    part = left.estimate / total.estimate
    if part < 0.0:
        return "; so the deeper networks fall short of what it predicts"
    if part < _SMALL:
        return f"; so {cause} for all but {100 * part:.0f} % of the effect"
    return f"; so {100 * part:.0f} % of the effect is left to something else"


def _wider(pairs: Sequence[tuple[Point, Point]]) -> list[Finding]:
    """By skip and by whether the budget is one: another width, and so another noise."""
    kinds = dict.fromkeys((same_budget(*pair), pair[0].skip) for pair in pairs)
    ordered = sorted(kinds, key=lambda kind: (not kind[0], kind[1]))
    return [
        _wider_at([pair for pair in pairs if (same_budget(*pair), pair[0].skip) == kind], kind[1])
        for kind in ordered
    ]


def _wider_at(pairs: Sequence[tuple[Point, Point]], skip: float) -> Finding:
    """At equal depth and skip, so at equal contraction, another width and another noise."""
    sides = [(one.arm, other.arm) for one, other in pairs]
    found = between(sides)
    widths = sorted({(a.arm["width"], b.arm["width"]) for a, b in pairs})
    told_widths = " or ".join(f"{wide} for {narrow}" for narrow, wide in widths)
    calmer = [a.prediction.noise / b.prediction.noise for a, b in pairs if b.prediction.noise > 0]
    less = f"{fmean(calmer):.1f} times less noise" if calmer else "other noise"
    where = f"with skip {skip:g}" if skip else "without the skip"
    return Finding(
        f"{_capital(where)}, with width {told_widths}, at equal depth, so at equal predicted "
        f"contraction and {less} of the gradient, test accuracy {change(found)}: {points(found)} "
        f"({_count(len(pairs), 'pair')} of arms, {seeds(found.n)}, paired"
        f"{_alone(between([side]) for side in sides)}{_unlike(pairs)}).",
        found,
        nested(sides),
    )


def _unlike(pairs: Sequence[tuple[Point, Point]]) -> str:
    """Wherein the training differs, which a comparison of widths then holds too."""
    names = [name for name in _TRAINING if any(a.arm[name] != b.arm[name] for a, b in pairs)]
    return f"; these runs differ in {' and '.join(map(headed, names))} too" if names else ""


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


def _effect(pair: Pair) -> Finding:
    """What the skip adds at one depth."""
    found, plain = gained([pair]), pair.plain.arm.mean()
    return Finding(
        f"At depth {pair.plain.depth}, with skip {pair.skipping.skip:g}, test accuracy "
        f"{change(found)}: {points(found)} ({seeds(found.n)}, paired), from {plain.show(100)} % "
        "without it.",
        found,
        nested([pair.arms]),
    )


def _best(
    those: Sequence[Point], where: str = "", fields: Sequence[str] = ("depth", "skip")
) -> Finding:
    """The arm that validation would choose of these."""
    best = max(those, key=lambda point: point.arm.validated())
    found = best.arm.mean()
    return Finding(
        f"The arm chosen by validation{where} is {told(best.arm, fields)}: "
        f"{found.show(100)} % test accuracy ({seeds(found.n)}).",
        found,
    )


def _failing(point: Point) -> Finding:
    said, rate = failing(point.arm.rows)
    return Finding(f"At {told(point.arm, ('depth', 'skip'))}, {said}.", rate)


def _deepest(group: Sequence[Point], name: str) -> list[Finding]:
    """How the deepest networks of a setting end, without the skip and with it."""
    deepest = max(point.depth for point in group)
    return [_ended(point, name) for point in group if point.depth == deepest]


def _ended(point: Point, name: str) -> Finding:
    found = point.arm.mean()
    return Finding(
        f"{_capital(name)}, {told(point.arm, ('depth', 'skip'))}: {found.show(100)} % test "
        f"accuracy ({seeds(found.n)}); {point.arm.failed} of {point.arm.n} runs fail.",
        found,
    )


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


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
