"""Clipped and unclipped activations side by side, over sparsity and the height m of the clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.studies.arms import Arm, arms, chosen
from sparsefield.studies.contrasts import (
    between,
    comparable,
    failing,
    kept,
    nested,
    rows_of,
    told_change,
)
from sparsefield.studies.drawing import draw_arms, name_values
from sparsefield.studies.labels import FAMILIES, HEIGHTS
from sparsefield.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    Table,
    arm_table,
    headed,
    points,
    seeds,
)
from sparsefield.studies.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MORE = ("zeros_init", "zeros_end", "q_end")
_UNCLIPPED_OF = {"crelu": "relu", "cst": "st"}
CLIPPED, UNCLIPPED = tuple(_UNCLIPPED_OF), tuple(_UNCLIPPED_OF.values())


def read(record: Record) -> Reading:
    """Accuracy and zeros over (family, s, m); the clip against none at the highest s first."""
    found, best = arms(record), best_height(record)
    sparsities = sorted({arm["sparsity"] for arm in found}, reverse=True)
    top = sparsities[0]
    clipped = [arm for arm in best if arm["family"] in CLIPPED]
    findings = [
        _clip(best, top, CLIPPED),
        *(_clip(best, top, [name]) for name in CLIPPED if len(_pairs(best, top, CLIPPED)) > 1),
        *(_clip(best, s, CLIPPED) for s in sparsities[1:]),
        *(_height(arm) for arm in clipped if arm["sparsity"] == top),
        *_heights(found, top),
        *(_failing(record, found, names) for names in (CLIPPED, UNCLIPPED)),
        *_kept(found),
    ]
    return Reading(
        tuple(findings),
        _tables(found),
        lambda: styled(lambda: _draw(found, best)),
        "Test accuracy over the sparsity s, a clip at the m chosen by validation; test accuracy at "
        "the highest s over m; share of exact zeros in the hidden layers after training, grey "
        "lines where asked for. Dots: means; bars: 95 % intervals; faint dots: seeds.",
    )


def best_height(record: Record) -> tuple[Arm, ...]:
    """The arms with the height of the clip chosen too, as the tuned fields are."""
    return chosen(record.rows, (*record.tuned, *HEIGHTS))


def _clip(best: Sequence[Arm], sparsity: float, families: Sequence[str]) -> Finding:
    """What the clip makes of an activation, mean over families, at one sparsity."""
    pairs = _pairs(best, sparsity, families)
    effect = between(pairs)
    named = " and ".join(_named(*pair) for pair in pairs) or "from no clip to a clip"
    mean = ", mean of both" if len(pairs) > 1 else ""
    return Finding(
        f"At s = {sparsity:g}, {named}{mean}, test accuracy {told_change(effect)}.",
        effect,
        nested(pairs),
    )


def _named(one: Arm, other: Arm) -> str:
    """Which activations are compared."""
    edge = other.edge(_height_name([other]))
    tried = f", the {edge} tried" if edge else ""
    return (
        f"from {_name(one)} to {_name(other)} ({_clipped_at(other)}, chosen by validation{tried})"
    )


def _height(arm: Arm) -> Finding:
    """The height that is chosen, and what it gives."""
    accuracy, zeros = arm.mean(), arm.mean("zeros_end")
    start = f"At s = {arm['sparsity']:g} {_name(arm)} has {_clipped_at(arm)} chosen by validation: "
    if not accuracy.n:
        return Finding(f"{start}no run of it has a result.", accuracy)
    return Finding(
        f"{start}{accuracy.show(100)} % test accuracy with {zeros.show(100)} % zeros after "
        f"training ({seeds(accuracy.n)}).",
        accuracy,
    )


def _heights(found: Sequence[Arm], sparsity: float) -> list[Finding]:
    """What the highest clip of each family makes of the lowest, at one sparsity."""
    ends = []
    for family in CLIPPED:
        those = _by_level(_of(found, [family], sparsity))
        ends += [(those[0], those[-1])] if len(those) > 1 else []
    return [_from_to(*pair) for pair in comparable(ends)]


def _from_to(low: Arm, high: Arm) -> Finding:
    effect = between([(low, high)])
    return Finding(
        f"At s = {low['sparsity']:g}, {_name(low)} from {_clipped_at(low)} to {_clipped_at(high)}: "
        f"test accuracy {told_change(effect)}.",
        effect,
        nested([(low, high)]),
    )


def _failing(record: Record, found: Sequence[Arm], families: Sequence[str]) -> Finding:
    """The share of runs that fail, with the rates chosen and with all."""
    those = [arm for arm in found if arm["family"] in families]
    rows = [row for row in record.rows if row["family"] in families]
    told, rate = failing(rows_of(those))
    what = "With a clip" if families == CLIPPED else "Without a clip"
    if not rows:
        return Finding(f"{what} there is no run.", rate)
    tried = " and ".join(headed(name) for name in record.tuned)
    every = f"; with every {tried} tried, {failing(rows)[0]}"
    return Finding(f"{what} {told}{every if len(rows) > rate.n else ''}.", rate)


def _kept(found: Sequence[Arm]) -> list[Finding]:
    """How training moves the zeros, with and without the clip."""
    findings = []
    for what, families in (("With", CLIPPED), ("Without", UNCLIPPED)):
        those = [arm for arm in found if arm["family"] in families]
        moved = kept(those)
        if moved.n:
            findings.append(
                Finding(
                    f"{what} a clip the share of zeros after training differs from the one asked "
                    f"for by {points(moved)} (mean over {len(those)} arms, {seeds(moved.n)}).",
                    moved,
                )
            )
    return findings


def _tables(found: Sequence[Arm]) -> tuple[Table, ...]:
    clipped = [arm for arm in found if arm["family"] in CLIPPED]
    others = [arm for arm in found if arm["family"] not in CLIPPED]
    heights = [name for name in HEIGHTS if any(arm[name] is not None for arm in clipped)]
    tables = [
        arm_table("Clipped", clipped, ("family", "sparsity", *heights), *MORE),
        arm_table("Unclipped", others, ("family", "sparsity"), *MORE),
    ]
    return tuple(table for table in tables if table.rows)


def _draw(found: Sequence[Arm], best: Sequence[Arm]) -> Figure:
    figure, panels = grid_of(3, columns=3, width=13.0, height=3.8)
    drawn = [
        _over_sparsity(panels[0], best, "test_accuracy"),
        _over_heights(panels[1], found),
        _over_sparsity(panels[2], best, "zeros_end"),
    ]
    for s in {arm["sparsity"] for arm in best}:
        panels[2].axhline(100 * s, color=GRID, linewidth=1.6, zorder=0)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, ends in zip(panels, drawn, strict=True):
        label_ends(axes, ends)
    return figure


def _over_sparsity(axes: Axes, best: Sequence[Arm], measure: str) -> list[tuple[float, str, Look]]:
    """Draw one measure over s; where each line ends, its label and look."""
    ends = []
    sparsities = sorted({arm["sparsity"] for arm in best})
    step = (sparsities[-1] - sparsities[0]) / 50 or 0.02
    for aside, (family, look) in enumerate(_looks().items()):
        those = sorted(_of(best, [family]), key=lambda arm: float(arm["sparsity"]))
        xs = [arm["sparsity"] + step * (aside - 1.5) for arm in those]  # bars side by side
        drawn = draw_arms(axes, xs, those, look, measure)
        ends += [(drawn[-1][1], FAMILIES[family], look)] if drawn else []
    name_values(axes, sparsities, log=False)
    axes.set_xlabel("sparsity s asked for")
    axes.set_ylabel(SHOWN[measure][0])
    return ends


def _over_heights(axes: Axes, found: Sequence[Arm]) -> list[tuple[float, str, Look]]:
    """Draw the accuracy over the height of the clip, no clip last, at the highest s."""
    top = max(arm["sparsity"] for arm in found)
    those = [arm for arm in found if arm["sparsity"] == top]
    levels = [_level(arm) for arm in _by_level(those)]
    levels = list(dict.fromkeys([*levels, math.inf]))
    ends = []
    for aside, (family, look) in enumerate(_looks().items()):
        ordered = sorted(_of(those, [family]), key=_level)
        xs = [levels.index(_level(arm)) + 0.1 * (aside - 1.5) for arm in ordered]
        drawn = draw_arms(axes, xs, ordered, look)
        ends += [(drawn[-1][1], FAMILIES[family], look)] if drawn and family in CLIPPED else []
    names = [f"{level:g}" if math.isfinite(level) else "no clip" for level in levels]
    axes.set_xticks(range(len(levels)), names)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_xlabel(f"height {_height_name(those)} of the clip, at s = {top:g}")
    axes.set_ylabel(SHOWN["test_accuracy"][0])
    return ends


def _looks() -> dict[str, Look]:
    """A colour for one-sided and one for two-sided activations, dashed where there is no clip."""
    colours = [look.colour for look in looks(len(CLIPPED))]
    return {
        name: Look(colour, dash)
        for names, dash in ((CLIPPED, "-"), (UNCLIPPED, "--"))
        for name, colour in zip(names, colours, strict=True)
    }


def _pairs(best: Sequence[Arm], sparsity: float, families: Sequence[str]) -> list[tuple[Arm, Arm]]:
    """The unclipped and the clipped arm of each family that can be compared."""
    return comparable(
        (one, other)
        for family in families
        for one in _of(best, [_UNCLIPPED_OF[family]], sparsity)
        for other in _of(best, [family], sparsity)
    )


def _of(found: Sequence[Arm], families: Sequence[str], sparsity: float | None = None) -> list[Arm]:
    wanted = [arm for arm in found if arm["family"] in families]
    return [arm for arm in wanted if sparsity in (None, arm["sparsity"])]


def _by_level(found: Sequence[Arm]) -> list[Arm]:
    """The arms with a clip, from the lowest to the highest."""
    return sorted((arm for arm in found if math.isfinite(_level(arm))), key=_level)


def _level(arm: Arm) -> float:
    """The height of the clip in the field that gives it; without a clip, infinite."""
    given = [arm[name] for name in HEIGHTS if arm[name] is not None]
    return float(given[0]) if given else math.inf


def _height_name(found: Sequence[Arm]) -> str:
    return next((n for n in HEIGHTS for arm in found if arm[n] is not None), "m")


def _name(arm: Arm) -> str:
    return FAMILIES[arm["family"]]


def _clipped_at(arm: Arm) -> str:
    """The height of the clip by the field that gives it."""
    return f"{_height_name([arm])} = {_level(arm):g}"
