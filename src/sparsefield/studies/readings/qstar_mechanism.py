"""What a larger q* does, taken apart by the scale identity, and what a fixed m adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sparsefield.pictures.plotting import styled
from sparsefield.studies.arms import Arm, arms, chosen
from sparsefield.studies.contrasts import (
    between,
    comparable,
    failing,
    listed,
    nested,
    rows_of,
    told_change,
)
from sparsefield.studies.measures import DIGITS
from sparsefield.studies.reading import (
    Finding,
    Reading,
    Table,
    arm_table,
    points,
    seeds,
)
from sparsefield.studies.readings.qstar_figure import draw
from sparsefield.studies.record import Record, Row
from sparsefield.studies.scale_identity import (
    FACTORS,
    amounts_to,
    coincidence,
    factors,
    identity_pairs,
    part_of,
    told_factors,
)
from sparsefield.sweep.statistics import Interval, mean, paired, share

START = ("logit_rms_init", "grad_ratio_init")
MORE = ("zeros_end", *START, "steps_to_half")
_TWICE = (-2.0, 2.0)  # what a difference of two differences of accuracies can be


@dataclass(frozen=True)
class Alone:
    """The smaller q* with one thing that the larger amounts to: its name, its arm, its effect."""

    name: str
    arm: Arm
    effect: Interval


def read(record: Record) -> Reading:
    """The larger q* beside the smaller: whole, in parts, at a fixed m, and in other units."""
    ratio = _by_q(arms(record, "ratio"))
    heights = _heights(record, ratio)
    apart, identity = arms(record, "apart"), arms(record, "identity")
    ends = _ends(ratio, apart)
    parts = [part for low, high in ends for part in _parts(low, high, apart)]
    findings = [
        _headline(ends, parts),
        *(_untuned(record, *pair) for pair in ends),
        *(_alone(*pair, part) for pair in ends for part in parts),
        *_whole_range(ratio, ends),
        *(finding for height in heights for finding in _at_a_height(ratio, height)),
        _identity(identity),
        *(finding for pair in ends for finding in _start(*pair, ratio)),
        *_failing(record),
    ]
    return Reading(
        tuple(findings),
        _tables(record, ratio, heights, apart, identity),
        lambda: styled(
            lambda: draw(ratio, heights, _rows(ends, parts), _untuned_arms(record, "ratio"))
        ),
        "Test accuracy over q*, the learning rate chosen, at a fixed clip ratio and at a fixed m; "
        "the smaller q* with things that the larger amounts to under one learning rate, and the "
        "larger; and at a fixed clip ratio over the learning rate. Dots: means; bars: 95 % "
        "intervals; faint dots: seeds.",
    )


def _ends(ratio: Sequence[Arm], apart: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """The q* that is taken apart and the largest, at a fixed clip ratio; none if there is one."""
    wanted = [arm["q"] for arm in apart] or [1.0]
    low = next((arm for arm in ratio if arm["q"] == wanted[0]), ratio[0] if ratio else None)
    if low is None or ratio[-1]["q"] == low["q"]:
        return []
    return [(low, ratio[-1])]


def _parts(low: Arm, high: Arm, apart: Sequence[Arm]) -> list[Alone]:
    """The arms that have some of what the larger q* amounts to."""
    whole = amounts_to(high["q"] / low["q"], low["optimizer"])
    found = [(arm, factors(arm.config, low.config)) for arm in apart if arm["q"] == low["q"]]
    return [
        Alone(" and ".join(told_factors(those)), arm, between([(low, arm)]))
        for arm, those in found
        if part_of(those, whole)
    ]


def _headline(ends: Sequence[tuple[Arm, Arm]], parts: Sequence[Alone]) -> Finding:
    """The larger q* against the smaller, each at its own learning rate, and what makes it."""
    effect = between(ends)
    what = "".join(f", from q* = {low['q']:g} to {high['q']:g}" for low, high in ends)
    smaller = "".join(f" at q* = {low['q']:g}" for low, _ in ends)
    of_parts = f". Of what that amounts to, tried{smaller}: {_which(parts)}"
    return Finding(
        "At a fixed clip ratio, the learning rate chosen for each q*"
        f"{what or ' (at most one was run)'}, test accuracy {told_change(effect)}"
        f"{of_parts if parts else ''}.",
        effect,
        nested(ends),
    )


def _which(parts: Sequence[Alone]) -> str:
    """The parts that change the accuracy by themselves."""
    told = [
        f"it {word} with {part.name}, {points(part.effect)}"
        for word, sign in (("rises", 1), ("falls", -1))
        for part in parts
        if _sign(part.effect) == sign
    ]
    if not any(part.effect.known for part in parts):
        return "nothing is known, for want of seeds"
    if not told:
        return "nothing is told apart from no change"
    rest = len(parts) - len(told)
    others = [f"{rest} of {len(parts)} not told apart from no change"] if rest else []
    return "; ".join([*told, *others])


def _sign(effect: Interval) -> int:
    """1 or -1 where an effect is told apart from none, else 0."""
    if not effect.excludes(0.0):
        return 0
    return 1 if effect.estimate > 0 else -1


def _untuned(record: Record, low: Arm, high: Arm) -> Finding:
    """The effect under one learning rate for both, mean over those that both were run at."""
    found = _untuned_arms(record, "ratio")
    pairs = comparable(
        (one, other)
        for one in found
        for other in found
        if one["q"] == low["q"] and other["q"] == high["q"] and one["lr"] == other["lr"]
    )
    effect = between(pairs)
    rates = listed(one["lr"] for one, _ in pairs)
    over = f", mean over lr = {rates}" if pairs else ""
    return Finding(
        f"At a fixed clip ratio under one learning rate for both{over}, from q* = {low['q']:g} to "
        f"{high['q']:g} test accuracy {told_change(effect)}.",
        effect,
    )


def _alone(low: Arm, high: Arm, part: Alone) -> Finding:
    """One part by itself, and what the larger q* has beyond it."""
    left = between([(part.arm, high)])
    beyond = f"; the rest of q* = {high['q']:g} adds {points(left)}" if left.n else ""
    return Finding(
        f"At q* = {low['q']:g} with {part.name} test accuracy {told_change(part.effect)}{beyond}.",
        part.effect,
        nested([(low, part.arm)]),
    )


def _whole_range(ratio: Sequence[Arm], ends: Sequence[tuple[Arm, Arm]]) -> Iterator[Finding]:
    """From the smallest q* that was run, where that is not the one taken apart."""
    for low, high in ends:
        if ratio[0]["q"] < low["q"]:
            effect = between([(ratio[0], high)])
            yield Finding(
                f"At a fixed clip ratio, from q* = {ratio[0]['q']:g} to {high['q']:g} test "
                f"accuracy {told_change(effect)}.",
                effect,
                nested([(ratio[0], high)]),
            )


def _at_a_height(ratio: Sequence[Arm], height: Sequence[Arm]) -> Iterator[Finding]:
    """The effect of q* at a fixed m, and what sets it apart from that at a fixed clip ratio."""
    if len(height) > 1:
        low, high = height[0], height[-1]
        effect = between([(low, high)])
        yield Finding(
            f"At a fixed m = {low['m']:g}, where the clip ratio shrinks from {low['clip']:.3g} to "
            f"{high['clip']:.3g}, from q* = {low['q']:g} to {high['q']:g} test accuracy "
            f"{told_change(effect)}.",
            effect,
            nested([(low, high)]),
        )
    yield from _against(ratio, height)
    yield from _added(ratio, height)


def _against(ratio: Sequence[Arm], height: Sequence[Arm]) -> Iterator[Finding]:
    """The two clips beside each other, at each q* that has both and in which they differ."""
    for one, other in _both(ratio, height):
        if not math.isclose(one["clip"], other["clip"]):
            effect = between([(one, other)])
            yield Finding(
                f"At q* = {one['q']:g}, from the clip ratio {one['clip']:.3g} to that of the fixed "
                f"m, {other['clip']:.3g}, test accuracy {told_change(effect)}.",
                effect,
                nested([(one, other)]),
            )


def _added(ratio: Sequence[Arm], height: Sequence[Arm]) -> Iterator[Finding]:
    """The effect of q* at a fixed m less that at a fixed clip ratio, over the same q*."""
    both = _both(ratio, height)
    if len(both) > 1:
        at_ratio, at_height = (_by_seed(both[0][i], both[-1][i]) for i in (0, 1))
        added = paired(at_ratio, at_height, within=_TWICE)
        told = f"{points(added)} ({seeds(added.n)}, paired)" if added.n else "not known"
        yield Finding(
            f"What a fixed m = {height[0]['m']:g}, by its shrinking clip ratio, adds to the effect "
            f"on test accuracy of q* = {both[0][0]['q']:g} to {both[-1][0]['q']:g}: {told}"
            f"{'' if added.excludes(0.0) else ', not told apart from nothing'}.",
            added,
        )


def _identity(identity: Sequence[Arm]) -> Finding:
    """Whether one network in two units gives the same runs."""
    pairs = identity_pairs(identity)
    found = coincidence(pairs)
    equal = share(found.equal, found.pairs)
    if not found.pairs:
        return Finding("No two runs are one network in two units.", equal)
    named = " and ".join(_told_identity(*pair) for pair in pairs)
    return Finding(
        f"By the scale identity {named}. Of such pairs of one seed {found.equal} of {found.pairs} "
        f"({equal.show(100)} %) have the same test accuracy and the same training loss in all "
        f"{DIGITS} digits recorded; the largest relative difference is {found.largest:.1g}.",
        equal,
    )


def _told_identity(one: Arm, other: Arm) -> str:
    words = told_factors(factors(one.config, other.config))
    having = f"{', '.join(words[:-1])} and {words[-1]}"
    return f"q* = {one['q']:g} with {having} is q* = {other['q']:g} in other units"


def _start(low: Arm, high: Arm, ratio: Sequence[Arm]) -> Iterator[Finding]:
    """How the logits and gradients of the start grow with q*, and which rates are chosen."""
    logits, gradients = (_growth(low, high, measure) for measure in START)
    if logits.n:
        rates = ", ".join(map(_told_rate, ratio))
        yield Finding(
            f"From q* = {low['q']:g} to {high['q']:g} at a fixed clip ratio the logits at the "
            f"start are multiplied by {logits.show(digits=2)} (by the scale identity: "
            f"{math.sqrt(high['q'] / low['q']):g}), the first layer's gradient over the last's by "
            f"{gradients.show(digits=2)}. The learning rate chosen by validation is {rates}.",
            logits,
        )


def _told_rate(arm: Arm) -> str:
    """The rate chosen for an arm, and whether it is at an end of those tried."""
    edge = arm.edge("lr")
    return f"{arm['lr']:g} at q* = {arm['q']:g}{f' (the {edge} tried)' if edge else ''}"


def _growth(low: Arm, high: Arm, measure: str) -> Interval:
    one, other = low.by_seed(measure), high.by_seed(measure)
    return mean([other[seed] / one[seed] for seed in one if seed in other and one[seed]])


def _failing(record: Record) -> Iterator[Finding]:
    """The share of runs that fail in each part that looks for an effect, and with every rate."""
    named = {"ratio": "a fixed clip ratio", "height": "a fixed m", "apart": "parts alone"}
    for part, name in named.items():
        rows = record.rows_of(part)
        if rows:
            told, rate = failing(rows_of(arms(record, part)))
            yield Finding(
                f"With {name} and the learning rates chosen {told}; with all those tried, "
                f"{failing(rows)[0]}.",
                rate,
            )


def _tables(
    record: Record,
    ratio: Sequence[Arm],
    heights: Sequence[Sequence[Arm]],
    apart: Sequence[Arm],
    identity: Sequence[Arm],
) -> tuple[Table, ...]:
    tables = [
        arm_table("At a fixed clip ratio", ratio, ("q", "clip"), *MORE),
        *(arm_table(_title(height), height, ("q", "m", "clip"), *MORE) for height in heights),
        arm_table("Parts of a larger q*", apart, ("q", *FACTORS), *MORE),
        arm_table("One network in two units", identity, ("q", *FACTORS), "train_loss", *START),
        arm_table(
            "At a fixed clip ratio, every learning rate tried",
            _untuned_arms(record, "ratio"),
            ("q", "lr"),
            "train_loss",
        ),
    ]
    return tuple(table for table in tables if table.rows)


def _rows(ends: Sequence[tuple[Arm, Arm]], parts: Sequence[Alone]) -> list[tuple[str, Arm]]:
    """What stands beside each other in the figure: the smaller q*, its parts, the larger."""
    return [
        row
        for low, high in ends
        for row in (
            (f"q* = {low['q']:g}", low),
            *((f"with {part.name}", part.arm) for part in parts),
            (f"q* = {high['q']:g}", high),
        )
    ]


def _by_q(found: Sequence[Arm]) -> list[Arm]:
    return sorted(found, key=lambda arm: float(arm["q"]))


def _heights(record: Record, ratio: Sequence[Arm]) -> list[list[Arm]]:
    """The arms at each fixed m over q*, with the ratio of their clip written out.

    Where the other part holds the same network and this one does not, it is from there.
    """
    found = arms(record, "height")
    by_height = {m: [arm for arm in found if arm["m"] == m] for m in sorted(_values(found, "m"))}
    return [
        _by_q([_with_clip(arm, m) for arm in (*those, *_shared(ratio, m, _values(those, "q")))])
        for m, those in by_height.items()
    ]


def _shared(ratio: Sequence[Arm], m: float, there: AbstractSet[float]) -> list[Arm]:
    """Arms at a fixed clip ratio whose clip is m high, at a q* that is not there."""
    others = [arm for arm in ratio if arm["q"] not in there]
    return [arm for arm in others if math.isclose(arm["clip"] * math.sqrt(arm["q"]), m)]


def _with_clip(arm: Arm, m: float) -> Arm:
    clip = float(f"{m / math.sqrt(arm['q']):.4g}")
    return replace(arm, config={**arm.config, "m": m, "clip": clip})


def _title(height: Sequence[Arm]) -> str:
    shared = listed(arm["q"] for arm in height if arm.part != "height")
    note = f" (q* = {shared} is that of the fixed clip ratio)" if shared else ""
    return f"At a fixed m = {height[0]['m']:g}{note}"


def _values(found: Sequence[Arm], field: str) -> set[float]:
    return {arm[field] for arm in found}


def _both(ratio: Sequence[Arm], height: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Arms of one q* at the two clips that can be compared."""
    pairs = ((one, other) for one in ratio for other in height if one["q"] == other["q"])
    return comparable(pairs)


def _by_seed(low: Arm, high: Arm) -> dict[int, float]:
    one, other = low.by_seed(), high.by_seed()
    return {seed: other[seed] - one[seed] for seed in one if seed in other}


def _untuned_arms(record: Record, part: str) -> tuple[Arm, ...]:
    rows: tuple[Row, ...] = record.rows_of(part)
    return chosen(rows, ())
