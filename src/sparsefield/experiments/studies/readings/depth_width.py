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

from sparsefield.experiments.plotting import styled
from sparsefield.experiments.studies.arms import arms
from sparsefield.experiments.studies.contrasts import failing
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
from sparsefield.experiments.studies.ranking import (
    LEAST,
    closer,
    partial_rank_correlation,
    rank_correlation,
)
from sparsefield.experiments.studies.reading import (
    Finding,
    Reading,
    change,
    headed,
    points,
    seeds,
    told,
)
from sparsefield.experiments.studies.record import Record
from sparsefield.experiments.studies.statistics import NONE, Interval, pooled

_NAMED = ("family", "width", "sparsity", "q", "clip")
_APART, _NOISE = "1 − ρ in the last layer", "noise of the gradient"
_TRAINING = ("steps", "epochs", "batch", "optimizer", "lr")
_SMALL = 0.5  # of an effect: an interval that reaches farther could hold most of it


def read(record: Record) -> Reading:
    """The skip at equal depth, contraction and noise; what ranks the arms; every depth."""
    groups = settings(arms(record))
    names = _names(groups)
    findings = [*_taken_apart(groups, names), *_by_depth(groups[0] if groups else [])]
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


def _taken_apart(groups: Sequence[Sequence[Point]], names: Sequence[str]) -> list[Finding]:
    every = list(chain.from_iterable(groups))
    alone = zip(groups, names, strict=True) if groups[1:] else ()
    return [
        _left(groups, (_apart, _APART), (_noise, _NOISE)),
        _left(groups, (_noise, _NOISE), (_apart, _APART)),
        _closer(every, "all settings" if groups[1:] else ""),
        *(_closer(group, name) for group, name in alone if len(group) >= LEAST),
        *_beyond(every),
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
        f"arms, {seeds(left.n)}, paired){_verdict(left, total, f'it{too} accounts')}.",
        left,
    )


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
        f"{_rank(one)} with the predicted {_APART} and "
        f"{_rank(other)} with the predicted {_NOISE}, sign turned; difference "
        f"{_rank(found)} (arms resampled).",
        found,
    )


def _than(found: Interval) -> str:
    if not found.excludes(0.0):
        return "no more closely, as far as can be told, with one prediction than with the other"
    one, other = ("contraction", "noise") if found.estimate > 0 else ("noise", "contraction")
    return f"more closely with the predicted {one} than with the {other}"


def _beyond(those: Sequence[Point]) -> list[Finding]:
    """How alike the predictions are, and what each says of accuracy beyond the other."""
    accuracies, apart, calm = _columns(those)
    alike = rank_correlation(apart, calm)
    if alike.n < LEAST:
        return []
    return [
        Finding(
            "The two predictions, noise with its sign turned, have between them a rank correlation "
            f"of {_rank(alike)}: the nearer to 1, the less can these arms tell them apart.",
            alike,
        ),
        _partial(_APART, "the noise", partial_rank_correlation(accuracies, apart, calm)),
        _partial(
            f"{_NOISE}, sign turned", "1 − ρ", partial_rank_correlation(accuracies, calm, apart)
        ),
    ]


def _partial(name: str, held: str, found: Interval) -> Finding:
    told = "goes with" if found.excludes(0.0) else "is not told to go with"
    return Finding(
        f"With {held} held, test accuracy {told} the predicted {name}: partial rank correlation "
        f"{_rank(found)}.",
        found,
    )


def _wider(pairs: Sequence[tuple[Point, Point]]) -> list[Finding]:
    """At equal depth and skip, so at equal contraction, another width and another noise."""
    if not pairs:
        return []
    found = pooled([(one.arm.by_seed(), other.arm.by_seed()) for one, other in pairs])
    widths = " or ".join(sorted({f"{b.arm['width']} for {a.arm['width']}" for a, b in pairs}))
    calmer = [a.prediction.noise / b.prediction.noise for a, b in pairs if b.prediction.noise > 0]
    less = f"{fmean(calmer):.1f} times less noise" if calmer else "other noise"
    return [
        Finding(
            f"With width {widths}, at equal depth and skip, so at equal predicted contraction and "
            f"{less} of the gradient, test accuracy {change(found)}: {points(found)} "
            f"({_count(len(pairs), 'pair')} of arms, {seeds(found.n)}, paired{_unlike(pairs)}).",
            found,
        )
    ]


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


def _columns(those: Sequence[Point]) -> tuple[list[float], list[float], list[float]]:
    """Accuracy, predicted 1 - rho, and noise with its sign turned, of arms with a result."""
    made = [point for point in those if point.arm.by_seed()]
    return (
        [point.arm.mean().estimate for point in made],
        [_apart(point) for point in made],
        [-_noise(point) for point in made],
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


def _rank(found: Interval) -> str:
    return found.show(1, 2, signed=True).replace("-", "−")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
