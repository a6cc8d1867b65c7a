"""How far training moves zeros, q, saturation and chi_1, and which q*, clip and skip hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sparsefield.pictures.plotting import GRID, Look, grid_of, label_ends, looks, styled
from sparsefield.studies.arms import Arm, arms, best_of
from sparsefield.studies.contrasts import failing, picked_by_others, rows_of
from sparsefield.studies.drawing import draw_arms, name_values
from sparsefield.studies.labels import phrase
from sparsefield.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    Table,
    arm_table,
    change,
    headed,
    points,
    seeds,
    told,
)
from sparsefield.studies.record import Record
from sparsefield.sweep.statistics import (
    ANYTHING,
    DIFFERENCES,
    SHARES,
    BySeed,
    Interval,
    mean,
    pooled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELDS = ("skip", "q", "clip")
_STRAIGHT = {"skip": 1, "q": 1, "clip": -1}  # the clip is compared from the highest to the lowest


@dataclass(frozen=True)
class Quantity:
    """What training moves: its name, where it begins and ends, how a shift is shown and bounded."""

    name: str
    begins: Callable[[Arm], BySeed]
    ends: Callable[[Arm], BySeed]
    show: Callable[[Interval], str]
    within: tuple[float, float] = ANYTHING


def _measured(measure: str) -> Callable[[Arm], BySeed]:
    return lambda arm: arm.by_seed(measure)


def _one(arm: Arm) -> BySeed:
    return dict.fromkeys(arm.by_seed("q_end"), 1.0)  # q = q* at the start, by construction


def _plain(found: Interval) -> str:
    return found.show(1, 3, signed=True).replace("-", "−")


ZEROS = Quantity(
    "the share of zeros", _measured("zeros_init"), _measured("zeros_end"), points, DIFFERENCES
)
QUANTITIES = (
    ZEROS,
    Quantity("q / q*", _one, _measured("q_end"), _plain),
    Quantity(
        "the share at the clip",
        _measured("saturated_init"),
        _measured("saturated_end"),
        points,
        DIFFERENCES,
    ),
    Quantity("χ₁", _measured("chi1_init"), _measured("chi1_end"), _plain),
)


@dataclass(frozen=True)
class Contrast:
    """The arms at one end of a field beside those at the other, all else equal."""

    field: str
    one: Any
    other: Any
    pairs: tuple[tuple[Arm, Arm], ...]

    def __str__(self) -> str:
        return f"from {phrase(self.field, self.one)} to {phrase(self.field, self.other)}"

    def effect(
        self, of: Callable[[Arm], BySeed], within: tuple[float, float] = DIFFERENCES
    ) -> Interval:
        """Paired by seed, mean over the pairs; ``within`` what it can be at all."""
        return pooled([(of(one), of(other)) for one, other in self.pairs], within=within)


def read(record: Record) -> Reading:
    """What moves, how far, and what holds it."""
    found = arms(record)
    contrasts = [_contrast(found, field) for field in FIELDS if len(_values(found, field)) > 1]
    return Reading(
        (
            _headline(found, contrasts),
            *(_effect(contrast) for contrast in contrasts),
            *(_moved(found, quantity) for quantity in QUANTITIES),
            *_best(found),
            _failing(found),
        ),
        (
            arm_table(
                "Every arm",
                found,
                FIELDS,
                *("zeros_init", "zeros_end", "zeros_end_last", "q_end"),
                *("saturated_init", "saturated_end", "chi1_init", "chi1_end"),
            ),
            _effects(contrasts),
        ),
        lambda: styled(lambda: _draw(found)),
        "Share of exact zeros after training over q*, without the skip (or with the least) and "
        "with the most, one line a clip; grey: the zeros asked for. Right: test accuracy beside "
        "these zeros, filled without the skip, open with it. Marks: means; bars: 95 % intervals; "
        "faint dots: seeds.",
    )


def _headline(found: Sequence[Arm], contrasts: Sequence[Contrast]) -> Finding:
    """How far the zeros move, and the largest effect on that."""
    far = _over_arms(found, _far(ZEROS), SHARES)
    moves = f"Training moves the share of zeros by {_size(far)} (mean over all arms, either way)"
    effects = [(contrast, contrast.effect(_far(ZEROS))) for contrast in contrasts]
    seen = [pair for pair in effects if pair[1].excludes(0.0)]
    if not seen:
        fields = ", ".join(headed(contrast.field) for contrast in contrasts)
        none = f"; no effect of {fields} on that is told apart from none" if fields else ""
        return Finding(f"{moves}{none}.", far)
    contrast, effect = max(seen, key=lambda pair: abs(pair[1].estimate))
    verb = "less" if effect.estimate < 0 else "more"
    return Finding(
        f"{moves}, and {verb} {contrast}: {points(effect)}, the largest effect of the fields that "
        f"were varied ({seeds(effect.n)}, paired).",
        effect,
        _nested(contrast),
    )


def _nested(contrast: Contrast) -> Interval | None:
    pairs = tuple(picked_by_others(contrast.pairs))
    return replace(contrast, pairs=pairs).effect(_far(ZEROS)) if pairs else None


def _effect(contrast: Contrast) -> Finding:
    """One field's effect on how far the zeros move, on where they end, and on accuracy."""
    far, ends = contrast.effect(_far(ZEROS)), contrast.effect(ZEROS.ends)
    accuracy = contrast.effect(_measured("test_accuracy"))
    return Finding(
        f"F{str(contrast)[1:]}, how far the zeros end from where they began {change(far)}: "
        f"{points(far)} ({seeds(far.n)}, paired, mean over the rest); their share at the end "
        f"{change(ends)}: {points(ends)}; test accuracy {change(accuracy)}: {points(accuracy)}.",
        far,
    )


def _moved(found: Sequence[Arm], quantity: Quantity) -> Finding:
    """The shift of a quantity by training, and the arms of the least and the largest."""
    shift = _over_arms(found, _shift(quantity), quantity.within)
    by_arm = [
        (mean(list(_shift(quantity)(arm).values()), within=quantity.within), arm) for arm in found
    ]
    known = sorted((pair for pair in by_arm if pair[0].n), key=lambda pair: pair[0].estimate)
    ends = ""
    if known[1:]:
        low, high = (f"{quantity.show(m)} ({_name(arm)})" for m, arm in (known[0], known[-1]))
        ends = f", by arm from {low} to {high}"
    return Finding(
        f"Over training {quantity.name} {change(shift)}: {quantity.show(shift)} (mean over "
        f"all arms, {seeds(shift.n)}){ends}.",
        shift,
    )


def _best(found: Sequence[Arm]) -> list[Finding]:
    """The arm that holds the zeros best, and the most accurate by validation."""
    held = [(mean(list(_far(ZEROS)(arm).values()), within=SHARES), arm) for arm in found]
    made = [(far, arm) for far, arm in held if far.n]
    if not made:
        return []
    far, best = min(made, key=lambda pair: pair[0].estimate)
    chosen = best_of([arm for _, arm in made])
    moved = mean(list(_shift(ZEROS)(chosen).values()), within=DIFFERENCES)
    return [
        Finding(
            f"The zeros move least at {_name(best)}: by {_size(far)}, to "
            f"{best.mean('zeros_end').show(100)} %, at {best.mean().show(100)} % test accuracy "
            f"({seeds(far.n)}; the least of {len(made)} arms).",
            far,
        ),
        Finding(
            f"The arm chosen by validation is {_name(chosen)}: {chosen.mean().show(100)} % test "
            f"accuracy, where the zeros shift by {points(moved)} to "
            f"{chosen.mean('zeros_end').show(100)} %.",
            moved,
        ),
    ]


def _failing(found: Sequence[Arm]) -> Finding:
    said, rate = failing(rows_of(found))
    return Finding(f"{said}; their zeros count like those of the rest.", rate)


def _effects(contrasts: Sequence[Contrast]) -> Table:
    """Every contrast and quantity: the effect on its distance from the start, and on its end."""
    return Table(
        "What q*, clip and skip hold, seeds paired, mean over the rest",
        ("quantity", "compared", "distance from the start", "value at the end", "seeds"),
        tuple(
            (
                *(quantity.name.removeprefix("the "), str(contrast)),
                *(quantity.show(far), quantity.show(ends), str(far.n)),
            )
            for quantity in QUANTITIES
            for contrast in contrasts
            for far, ends in [_on(contrast, quantity)]
        ),
    )


def _on(contrast: Contrast, quantity: Quantity) -> tuple[Interval, Interval]:
    """The effect on the distance of a quantity from its start, and on its end."""
    ways = (_far(quantity), quantity.ends)
    far, ends = (contrast.effect(of, quantity.within) for of in ways)
    return far, ends


def _contrast(found: Sequence[Arm], field: str) -> Contrast:
    values = _values(found, field)[:: _STRAIGHT[field]]
    one, other = values[0], values[-1]
    pairs = [
        (a, b)
        for a in found
        for b in found
        if (a[field], b[field]) == (one, other) and a.part == b.part and _alike(a, b, field)
    ]
    return Contrast(field, one, other, tuple(pairs))


def _alike(one: Arm, other: Arm, but: str) -> bool:
    left_out = (but, *one.tuned)
    return all(one[name] == other[name] for name in one.config if name not in left_out)


def _shift(quantity: Quantity) -> Callable[[Arm], BySeed]:
    """Where a quantity ends less where it begins, by seed."""

    def of(arm: Arm) -> BySeed:
        begins, ends = quantity.begins(arm), quantity.ends(arm)
        return {seed: ends[seed] - begins[seed] for seed in ends if seed in begins}

    return of


def _far(quantity: Quantity) -> Callable[[Arm], BySeed]:
    """The size of the shift, by seed."""
    return lambda arm: {seed: abs(value) for seed, value in _shift(quantity)(arm).items()}


def _over_arms(
    found: Sequence[Arm], of: Callable[[Arm], BySeed], within: tuple[float, float]
) -> Interval:
    """The mean over all arms, a seed once."""
    by_seed: dict[int, list[float]] = {}
    for arm in found:
        for seed, value in of(arm).items():
            by_seed.setdefault(seed, []).append(value)
    return mean([fmean(values) for values in by_seed.values()], within=within)


def _draw(found: Sequence[Arm]) -> Figure:
    skips, clips = _values(found, "skip"), _values(found, "clip")
    shown = list(dict.fromkeys((skips[0], skips[-1])))
    look_of = dict(zip(clips, looks(len(clips)), strict=True))
    count = len(shown) + 1
    figure, panels = grid_of(count, columns=count, width=4.0 * count, height=3.8)
    drawn = [_over_q(axes, skip, found, look_of) for axes, skip in zip(panels, shown, strict=False)]
    _same_heights(panels[: len(shown)])
    panels[0].set_ylabel(SHOWN["zeros_end"][0])
    _beside(panels[-1], shown, found, look_of)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, ends in zip(panels, drawn, strict=False):
        label_ends(axes, ends)
    return figure


def _over_q(
    axes: Axes, skip: float, found: Sequence[Arm], look_of: dict[Any, Look]
) -> list[tuple[float, str, Look]]:
    """Draw the zeros of one skip; where each line ends, its label and look."""
    ends = []
    those = [arm for arm in found if arm["skip"] == skip]
    for index, (clip, look) in enumerate(look_of.items()):
        line = sorted((arm for arm in those if arm["clip"] == clip), key=lambda arm: arm["q"])
        aside = 1.07 ** (index - (len(look_of) - 1) / 2)  # bars side by side
        drawn = draw_arms(axes, [arm["q"] * aside for arm in line], line, look, "zeros_end")
        if drawn:
            ends.append((drawn[-1][1], phrase("clip", clip), look))
    for asked in {arm["sparsity"] for arm in those}:
        axes.axhline(100 * asked, color=GRID, linewidth=2.0, zorder=0)
    name_values(axes, _values(those, "q"))
    axes.set_xlabel("fixed variance q*")
    axes.set_title(phrase("skip", skip))
    return ends


def _beside(
    axes: Axes, skips: Sequence[float], found: Sequence[Arm], look_of: dict[Any, Look]
) -> None:
    """Accuracy over the zeros at the end."""
    for arm in found:
        x, y = arm.mean("zeros_end").scaled(100), arm.mean().scaled(100)
        if arm["skip"] not in skips or not (x.n and y.n):
            continue
        colour = look_of[arm["clip"]].colour
        for ends, across in ((x, True), (y, False)):
            if ends.known:
                reach, at = [ends.low, ends.high], [(y if across else x).estimate] * 2
                axes.plot(*((reach, at) if across else (at, reach)), color=colour, lw=1, alpha=0.5)
        fill = colour if arm["skip"] == skips[0] else "white"
        axes.plot([x.estimate], [y.estimate], "o", ms=5.5, mec=colour, mew=1.3, mfc=fill, zorder=3)
    axes.set_xlabel(SHOWN["zeros_end"][0])
    axes.set_ylabel(SHOWN["test_accuracy"][0])


def _same_heights(panels: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)


def _values(found: Sequence[Arm], field: str) -> list[Any]:
    return sorted({arm[field] for arm in found}, key=_order)


def _order(value: Any) -> float:
    return value if isinstance(value, (int, float)) else math.inf


def _name(arm: Arm) -> str:
    return told(arm, FIELDS)


def _size(found: Interval) -> str:
    return f"{found.show(100)} points"
