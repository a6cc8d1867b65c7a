"""What the fixed variance q* does to sparse networks, the learning rate tuned in each arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.studies.arms import Arm, arms, best_of
from sparsefield.studies.contrasts import (
    between,
    comparable,
    failing,
    kept,
    listed,
    nested,
    rows_of,
    told_change,
)
from sparsefield.studies.drawing import draw_arms, name_values
from sparsefield.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    arm_table,
    change,
    points,
    seeds,
)
from sparsefield.studies.record import Record, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELDS = ("sparsity", "q")
HALF = "steps_to_half"
MORE = ("zeros_init", "zeros_end", "logit_rms_init", HALF)


def read(record: Record) -> Reading:
    """Accuracy, zeros and speed over q* at each sparsity."""
    found = arms(record)
    qs, sparsities = _values(found, "q"), _values(found, "sparsity")
    ends = tuple(dict.fromkeys((qs[0], qs[-1])))
    findings = [
        *(_effect(found, qs[0], q, sparsities) for q in reversed(qs[1:])),
        *(_effect(found, qs[0], qs[-1], [s]) for s in sparsities if qs[1:] and sparsities[1:]),
        _sparsest(found, sparsities[-1]),
        *(_speed(found, qs[0], q, sparsities) for q in ends[1:]),
        *(_failing(found, q) for q in ends),
        *(_at_any_rate(record.rows, q) for q in ends if _rates(record.rows)[1:]),
        _kept(found),
    ]
    return Reading(
        tuple(findings),
        (arm_table("Every arm", found, FIELDS, *MORE),),
        lambda: styled(lambda: _draw(found, qs, sparsities)),
        "Over q*, one line a sparsity s: test accuracy, and share of exact zeros in the hidden "
        "layers after training. Dots: means; bars: 95 % intervals; faint dots: seeds. "
        "Horizontal lines: the zeros asked for.",
    )


def _effect(found: Sequence[Arm], low: float, high: float, sparsities: Sequence[float]) -> Finding:
    """Accuracy at ``high`` less that at ``low``, seeds paired, mean over sparsities."""
    pairs = comparable(_pairs(found, low, high, sparsities))
    effect = between(pairs)
    where = _where(_values([one for one, _ in pairs], "sparsity") or sparsities)
    return Finding(
        f"From q* = {low:g} to {high:g}, {where}, test accuracy {told_change(effect)}.",
        effect,
        nested(pairs),
    )


def _speed(found: Sequence[Arm], low: float, high: float, sparsities: Sequence[float]) -> Finding:
    """Steps to half of a guess's loss at ``high`` less those at ``low``, of runs that get there."""
    pairs = [
        (one, other)
        for one, other in _pairs(found, low, high, sparsities)
        if one.by_seed(HALF).keys() & other.by_seed(HALF).keys()
    ]
    effect = between(pairs, HALF)
    where = _where(_values([one for one, _ in pairs], "sparsity") or sparsities)
    by = f": {effect.show(signed=True)} ({seeds(effect.n)}, paired)".replace("-", "−")
    return Finding(
        f"From q* = {low:g} to {high:g}, {where}, the number of steps until the training loss is "
        f"half a guess's {change(effect)}{by if effect.n else ''}. Of the runs, "
        f"{_got_there(found, low)} and {_got_there(found, high)} get there; each q* has its own "
        "learning rate, and a higher one may start faster. The loss is logged, as the mean since "
        f"the time before, every {listed(arm['log_every'] for arm in found)} steps and at the end "
        "of each epoch.",
        effect,
    )


def _got_there(found: Sequence[Arm], q: float) -> str:
    those = [arm for arm in found if arm["q"] == q]
    there, n = sum(len(arm.by_seed(HALF)) for arm in those), sum(arm.n for arm in those)
    return f"{there} of {n} at q* = {q:g} (lr {listed(arm['lr'] for arm in those)})"


def _sparsest(found: Sequence[Arm], sparsity: float) -> Finding:
    """The best arm, by validation, at the highest sparsity."""
    best = best_of([arm for arm in found if arm["sparsity"] == sparsity])
    accuracy, zeros = best.mean(), best.mean("zeros_end")
    return Finding(
        f"At s = {sparsity:g} the q* chosen by validation is {best['q']:g}: "
        f"{accuracy.show(100)} % test accuracy with {zeros.show(100)} % zeros after training "
        f"({seeds(accuracy.n)}).",
        accuracy,
    )


def _failing(found: Sequence[Arm], q: float) -> Finding:
    """The share of runs that fail at one q*."""
    told, rate = failing(rows_of(arm for arm in found if arm["q"] == q))
    return Finding(f"At q* = {q:g}, {told}.", rate)


def _at_any_rate(rows: Sequence[Row], q: float) -> Finding:
    """The share of runs that fail at one q*, whatever the learning rate."""
    those = [row for row in rows if row["q"] == q]
    told, rate = failing(those)
    same = {listed(_rates([row for row in rows if row["q"] == other])) for other in _qs(rows)}
    apart = "; other q* were tried at other rates" if len(same) > 1 else ""
    return Finding(
        f"Over all learning rates tried at q* = {q:g} ({listed(_rates(those))}{apart}), not only "
        f"those chosen, {told}.",
        rate,
    )


def _kept(found: Sequence[Arm]) -> Finding:
    """Zeros after training less those asked for."""
    moved = kept(found)
    return Finding(
        f"Training changes the share of zeros, from the one asked for, by {points(moved)} "
        f"(mean over all arms, {seeds(moved.n)}).",
        moved,
    )


def _draw(found: Sequence[Arm], qs: Sequence[float], sparsities: Sequence[float]) -> Figure:
    figure, panels = grid_of(2, columns=2, width=9.0, height=3.8)
    drawn = [
        _panel(axes, measure, found, qs, sparsities)
        for axes, measure in zip(panels, ("test_accuracy", "zeros_end"), strict=True)
    ]
    for s in sparsities:
        panels[1].axhline(100 * s, color=GRID, linewidth=1.2, zorder=0)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, ends in zip(panels, drawn, strict=True):
        label_ends(axes, ends)
    return figure


def _panel(
    axes: Axes,
    measure: str,
    found: Sequence[Arm],
    qs: Sequence[float],
    sparsities: Sequence[float],
) -> list[tuple[float, str, Look]]:
    """Draw one measure; where each line ends, its label and look."""
    ends = []
    for index, (s, look) in enumerate(zip(sparsities, looks(len(sparsities)), strict=True)):
        those = [arm for arm in found if arm["sparsity"] == s]
        aside = 1.07 ** (index - (len(sparsities) - 1) / 2)  # bars side by side
        xs = [arm["q"] * aside for arm in those]
        drawn = draw_arms(axes, xs, those, look, measure)
        if drawn:
            ends.append((drawn[-1][1], f"s = {s:g}", look))
    name_values(axes, qs)
    axes.set_xlabel("fixed variance q*")
    axes.set_ylabel(SHOWN[measure][0])
    return ends


def _values(found: Sequence[Arm], field: str) -> list[float]:
    return sorted({arm[field] for arm in found})


def _rates(rows: Sequence[Row]) -> list[float]:
    return sorted({row["lr"] for row in rows})


def _qs(rows: Sequence[Row]) -> list[float]:
    return sorted({row["q"] for row in rows})


def _pairs(
    found: Sequence[Arm], low: float, high: float, sparsities: Sequence[float]
) -> list[tuple[Arm, Arm]]:
    """The arms of two q* at each sparsity."""
    return [
        (one, other)
        for s in sparsities
        for one in _at(found, low, s)
        for other in _at(found, high, s)
    ]


def _at(found: Sequence[Arm], q: float, sparsity: float) -> list[Arm]:
    return [arm for arm in found if arm["q"] == q and arm["sparsity"] == sparsity]


def _where(sparsities: Sequence[float]) -> str:
    if not sparsities[1:]:
        return f"at s = {sparsities[0]:g}"
    return f"mean over s = {', '.join(f'{s:g}' for s in sparsities)}"
