"""What the fixed variance q* does to deep sparse networks, the learning rate tuned in each arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefield.experiments.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.experiments.studies.arms import Arm, arms
from sparsefield.experiments.studies.drawing import draw_arms, name_values
from sparsefield.experiments.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    arm_table,
    change,
    points,
    seeds,
)
from sparsefield.experiments.studies.record import Record
from sparsefield.experiments.studies.statistics import mean, pooled, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELDS = ("sparsity", "q")


def read(record: Record) -> Reading:
    """Accuracy and zeros over q* at each sparsity."""
    found = arms(record)
    qs, sparsities = _values(found, "q"), _values(found, "sparsity")
    findings = [
        *(_effect(found, qs[0], q, sparsities) for q in reversed(qs[1:])),
        *(_effect(found, qs[0], qs[-1], [s]) for s in sparsities if qs[1:] and sparsities[1:]),
        _sparsest(found, sparsities[-1]),
        *(_failing(found, q) for q in dict.fromkeys((qs[0], qs[-1]))),
        _kept(found),
    ]
    table = arm_table("Every arm", found, FIELDS, "zeros_init", "zeros_end", "logit_rms_init")
    return Reading(
        tuple(findings),
        (table,),
        lambda: styled(lambda: _draw(found, qs, sparsities)),
        "Over q*, one line a sparsity s: test accuracy, and share of exact zeros in the hidden "
        "layers after training. Dots: means; bars: 95 % intervals; faint dots: seeds. "
        "Horizontal lines: the zeros asked for.",
    )


def _effect(found: Sequence[Arm], low: float, high: float, sparsities: Sequence[float]) -> Finding:
    """Accuracy at ``high`` less that at ``low``, seeds paired, mean over sparsities."""
    pairs = {
        s: (one.by_seed(), other.by_seed())
        for s in sparsities
        for one in _at(found, low, s)
        for other in _at(found, high, s)
        if one.by_seed().keys() & other.by_seed().keys()
    }
    effect = pooled(list(pairs.values()))
    where = _where(list(pairs) or sparsities)
    return Finding(
        f"From q* = {low:g} to {high:g}, {where}, test accuracy {change(effect)}: "
        f"{points(effect)} ({seeds(effect.n)}, paired).",
        effect,
    )


def _sparsest(found: Sequence[Arm], sparsity: float) -> Finding:
    """The best arm, by validation, at the highest sparsity."""
    best = max((arm for arm in found if arm["sparsity"] == sparsity), key=_choice)
    accuracy, zeros = best.mean(), best.mean("zeros_end")
    return Finding(
        f"At s = {sparsity:g} the q* chosen by validation is {best['q']:g}: "
        f"{accuracy.show(100)} % test accuracy with {zeros.show(100)} % zeros after training "
        f"({seeds(accuracy.n)}).",
        accuracy,
    )


def _failing(found: Sequence[Arm], q: float) -> Finding:
    """The share of runs that fail at one q*."""
    those = [arm for arm in found if arm["q"] == q]
    failed, n = sum(arm.failed for arm in those), sum(arm.n for arm in those)
    rate = share(failed, n)
    return Finding(f"At q* = {q:g}, {failed} of {n} runs fail: {rate.show(100)} %.", rate)


def _kept(found: Sequence[Arm]) -> Finding:
    """Zeros after training less those asked for, by seed over all arms."""
    by_seed: dict[int, list[float]] = {}
    for arm in found:
        for seed, zeros in arm.by_seed("zeros_end").items():
            by_seed.setdefault(seed, []).append(zeros - arm["sparsity"])
    kept = mean([sum(values) / len(values) for values in by_seed.values()])
    return Finding(
        f"Training changes the share of zeros, from the one asked for, by {points(kept)} "
        f"(mean over all arms, {seeds(kept.n)}).",
        kept,
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


def _at(found: Sequence[Arm], q: float, sparsity: float) -> list[Arm]:
    return [arm for arm in found if arm["q"] == q and arm["sparsity"] == sparsity]


def _choice(arm: Arm) -> float:
    chosen_by = arm.mean("validation_accuracy")
    return chosen_by.estimate if chosen_by.n else -1.0


def _where(sparsities: Sequence[float]) -> str:
    if not sparsities[1:]:
        return f"at s = {sparsities[0]:g}"
    return f"mean over s = {', '.join(f'{s:g}' for s in sparsities)}"
