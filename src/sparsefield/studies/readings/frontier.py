"""Accuracy and realised zeros as the sparsity is pushed, each with the best q*, clip and rate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.studies.arms import Arm, best_of, chosen
from sparsefield.studies.contrasts import (
    between,
    comparable,
    failing,
    kept,
    nested,
    rows_of,
)
from sparsefield.studies.drawing import draw_arms
from sparsefield.studies.labels import phrase
from sparsefield.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    Table,
    arm_table,
    change,
    points,
    seeds,
    shown,
)
from sparsefield.studies.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FREE = ("lr", "q", "clip")
Ends = list[tuple[float, str, Look]]


def read(record: Record) -> Reading:
    """What each step of sparsity costs, and what the skip, q* and the clip do about it."""
    best = sorted(chosen(record.rows, FREE), key=lambda arm: (arm["skip"], arm["sparsity"]))
    every = chosen(record.rows, ["lr"])
    sparsities = _values(every, "sparsity")
    front = [best_of(_at(best, s)) for s in sparsities]
    findings = [
        *_pushed(front[0], front[-1]),
        *(_reached(arm) for arm in front),
        *(_step(one, other) for one, other in pairwise(front) if front[2:]),
        *_effects(best, "skip", sparsities),
        *_effects(every, "q", sparsities),
        *_effects(every, "clip", sparsities)[:1],
        *(_failing(every, s) for s in sparsities),
    ]
    return Reading(
        tuple(findings),
        (_chosen_table(best), _table_of_steps(best)),
        lambda: styled(lambda: _draw(best, every, sparsities)),
        "Over the zeros asked for, each at the q*, the clip and the rate chosen by validation: "
        "test accuracy, and the share of exact zeros after training (grey: as asked). Right: what "
        "the largest q* changes against the smallest, the clip held, seeds paired. Dots: means; "
        "bars: 95 % intervals; faint dots: seeds.",
    )


def _pushed(one: Arm, other: Arm) -> list[Finding]:
    """From the least sparse to the sparsest, each at its best."""
    if one is other:
        return []
    loss = between([(one, other)])
    start, end = (
        f"{arm.mean().show(100)} % at {arm.mean('zeros_end').show(100)} %" for arm in (one, other)
    )
    sentence = (
        f"Pushed from s = {one['sparsity']:g} to {other['sparsity']:g}, each at the skip, q*, clip "
        f"and rate chosen by validation, test accuracy {change(loss)}: {points(loss)} "
        f"({seeds(loss.n)}, paired), from {start} zeros after training to {end}."
    )
    return [Finding(sentence, loss, nested([(one, other)]))]


def _reached(arm: Arm) -> Finding:
    """The best network of one sparsity."""
    accuracy, moved = arm.mean(), kept([arm])
    return Finding(
        f"At s = {arm['sparsity']:g}, {active(arm)} active units of {arm['width']} a layer, "
        f"validation chooses {_choice(arm, 'skip', 'q', 'clip')}: {accuracy.show(100)} % test "
        f"accuracy ({seeds(accuracy.n)}); training changes the zeros by {points(moved)}.",
        accuracy,
    )


def _step(one: Arm, other: Arm) -> Finding:
    loss = between([(one, other)])
    return Finding(
        f"From s = {one['sparsity']:g} to {other['sparsity']:g} test accuracy {change(loss)}: "
        f"{points(loss)} ({seeds(loss.n)}, paired).",
        loss,
        nested([(one, other)]),
    )


def _effects(found: Sequence[Arm], field: str, sparsities: Sequence[float]) -> list[Finding]:
    """What the highest value of a field changes against the lowest, in all and at each sparsity."""
    values = _values(found, field)
    if not values[1:]:
        return []
    groups = [sparsities, *([s] for s in sparsities if sparsities[1:])]
    return [_effect(found, field, values[0], values[-1], group) for group in groups]


def _effect(
    found: Sequence[Arm], field: str, low: float, high: float, sparsities: Sequence[float]
) -> Finding:
    pairs = {s: _pairs(_at(found, s), field, low, high) for s in sparsities}
    every = [pair for those in pairs.values() for pair in those]
    effect = between(every)
    met = [s for s, those in pairs.items() if those] or sparsities
    where = f"{'mean over' if met[1:] else 'at'} s = {', '.join(f'{s:g}' for s in met)}"
    held = {"skip": "the rest chosen", "q": "the clip held", "clip": "q* held"}[field]
    return Finding(
        f"From {phrase(field, low)} to {phrase(field, high)} ({held}), {where}, "
        f"test accuracy {change(effect)}: {points(effect)} ({seeds(effect.n)}, paired).",
        effect,
        nested(every),
    )


def _failing(every: Sequence[Arm], sparsity: float) -> Finding:
    """The share of runs that fail at one sparsity, at whichever q*, clip and skip."""
    said, rate = failing(rows_of(_at(every, sparsity)))
    return Finding(
        f"At s = {sparsity:g}, over every q*, clip and skip at its best rate, {said}.", rate
    )


def _pairs(found: Sequence[Arm], field: str, low: float, high: float) -> list[tuple[Arm, Arm]]:
    """Arms alike in all that is not chosen but this field, low and high, with a seed in common."""
    chosen_too = ("lr", *(FREE if field not in FREE else ()))
    lows, highs = (
        {_rest(arm, (field, *chosen_too)): arm for arm in found if arm[field] == value}
        for value in (low, high)
    )
    return comparable((one, highs[rest]) for rest, one in lows.items() if rest in highs)


def _rest(arm: Arm, left_out: Sequence[str]) -> str:
    return json.dumps({k: value for k, value in arm.config.items() if k not in left_out})


def _at(found: Sequence[Arm], sparsity: float) -> list[Arm]:
    return [arm for arm in found if arm["sparsity"] == sparsity]


def active(arm: Arm) -> str:
    """How many units of a layer are to be active, (1 - s) width."""
    return f"{(1 - arm['sparsity']) * arm['width']:.3g}"


def _choice(arm: Arm, *fields: str) -> str:
    return ", ".join(phrase(name, arm[name]) for name in fields if arm[name] is not None)


def _values(found: Sequence[Arm], field: str) -> list[float]:
    return sorted({arm[field] for arm in found if arm[field] is not None})


def _chosen_table(best: Sequence[Arm]) -> Table:
    """Every sparsity and skip at the chosen q*, clip and rate."""
    fields = ("skip", "sparsity", "q", "clip", "lr")
    base = arm_table("", best, fields, "zeros_init", "zeros_end")
    columns = (*base.columns[:2], "active units a layer", *base.columns[2:])
    rows = ((*row[:2], active(arm), *row[2:]) for arm, row in zip(best, base.rows, strict=True))
    return Table("Chosen at each skip and sparsity", columns, tuple(rows), base.note)


def _table_of_steps(best: Sequence[Arm]) -> Table:
    """What each step of sparsity changes, with and without the skip."""
    steps = [(one, other) for one, other in pairwise(best) if one["skip"] == other["skip"]]
    rows = (
        (
            shown(one["skip"]),
            f"{one['sparsity']:g} → {other['sparsity']:g}",
            _gap(one, other, "test_accuracy"),
            _gap(one, other, "zeros_end"),
        )
        for one, other in steps
    )
    columns = ("skip α²", "s", "test accuracy, points", "zeros at the end, points")
    return Table("Each step of sparsity, seed by seed", columns, tuple(rows))


def _gap(one: Arm, other: Arm, measure: str) -> str:
    gap = between([(one, other)], measure)
    return points(gap).removesuffix(" points")


def _draw(best: Sequence[Arm], every: Sequence[Arm], sparsities: Sequence[float]) -> Figure:
    qs = _values(every, "q")
    count = 3 if qs[1:] else 2
    figure, panels = grid_of(count, columns=count, width=4.2 * count, height=3.6)
    skips = _values(best, "skip")
    shades = dict(zip(skips, looks(len(skips)), strict=True))
    for axes in panels:
        _name_sparsities(axes, sparsities)
    panels[1].plot([1 - s for s in sparsities], [100 * s for s in sparsities], color=GRID, zorder=0)
    measures = ("test_accuracy", "zeros_end")
    ends = [_measured(*one, best, shades) for one in zip(panels, measures, strict=False)]
    if qs[1:]:
        ends.append(_effects_drawn(panels[2], every, sparsities, shades))
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, labels in zip(panels, ends, strict=True):
        label_ends(axes, labels)
    return figure


def _measured(axes: Axes, measure: str, best: Sequence[Arm], shades: dict[float, Look]) -> Ends:
    """A measure over the zeros asked for, a line a skip; where each ends."""
    axes.set_ylabel(SHOWN[measure][0])
    ends: Ends = []
    for index, (skip, look) in enumerate(shades.items()):
        those = [arm for arm in best if arm["skip"] == skip]
        xs = [(1 - arm["sparsity"]) * _aside(index, len(shades)) for arm in those]
        drawn = draw_arms(axes, xs, those, look, measure)
        ends += [(drawn[-1][1], phrase("skip", skip), look)] if drawn else []
    return ends


def _aside(index: int, count: int) -> float:
    """A factor that puts bars side by side."""
    return float(1.06 ** (index - (count - 1) / 2))


def _effects_drawn(
    axes: Axes, every: Sequence[Arm], sparsities: Sequence[float], shades: dict[float, Look]
) -> Ends:
    """What the largest q* changes against the smallest, over s, a line a skip; where it ends."""
    low, high = (_values(every, "q")[end] for end in (0, -1))
    axes.axhline(0, color=GRID, linewidth=1.6, zorder=0)
    axes.set_ylabel(f"q* = {high:g} against {low:g}, points of accuracy")
    ends: Ends = []
    for index, (skip, look) in enumerate(shades.items()):
        aside = _aside(index, len(shades))
        drawn = []
        for s in sparsities:
            those = [arm for arm in every if (arm["skip"], arm["sparsity"]) == (skip, s)]
            effect = between(_pairs(those, "q", low, high)).scaled(100)
            if effect.n:
                x = (1 - s) * aside
                drawn.append((x, effect.estimate))
                axes.plot([x] * 2, [effect.low, effect.high], color=look.colour, linewidth=1.4)
        if drawn:
            axes.plot(*zip(*drawn, strict=True), look.dash, color=look.colour, marker="o", ms=5)
            ends.append((drawn[-1][1], phrase("skip", skip), look))
    return ends


def _name_sparsities(axes: Axes, sparsities: Sequence[float]) -> None:
    """Sparsity rises to the right, by equal factors of the share of active units."""
    shares = [1 - s for s in sparsities]
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{100 * s:g}" for s in sparsities])
    axes.minorticks_off()
    axes.set_xlabel("zeros asked for, %")
    axes.set_xlim(1.5 * max(shares), min(shares) / 1.5)
