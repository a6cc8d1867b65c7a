"""Accuracy and failures over the clip, against the predicted chance that the variance escapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import QUIET, Look, grid_of, label_ends, looks, styled
from sparsefield.studies.arms import Arm
from sparsefield.studies.clips import Clip, Network, by_network, percent
from sparsefield.studies.contrasts import between, failing, nested, rows_of
from sparsefield.studies.drawing import draw_arms
from sparsefield.studies.reading import (
    SHOWN,
    Finding,
    Reading,
    Table,
    arm_table,
    change,
    points,
    seeds,
)
from sparsefield.studies.record import Record
from sparsefield.sweep.statistics import DIFFERENCES, NONE, Interval, paired
from sparsefield.theory.design import ESCAPE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 1e-6  # of the chances drawn: smaller ones stand here
Ends = list[tuple[float, str, Look]]


def read(record: Record) -> Reading:
    """What the rule's clip costs, which clips are as good, and where runs fail."""
    found = by_network(record)
    return Reading(
        tuple(finding for network in found for finding in _findings(network)),
        tuple(_table(network) for network in found),
        lambda: styled(lambda: _draw(found)),
        "Test accuracy over the clip, and over the predicted chance that the variance leaves "
        "[q*/2, 2 q*]; between them that chance and the share of runs that failed. Dots: means, "
        "or shares; bars: 95 % intervals; faint dots: seeds. Dashed: the rule's line.",
    )


def _findings(network: Network) -> list[Finding]:
    found = [_headline(network), *_beside(network), *_as_good(network), *_failures(network)]
    said = {finding.sentence: finding for finding in found}
    return [replace(one, sentence=network.where + one.sentence) for one in said.values()]


def _headline(network: Network) -> Finding:
    """What it costs to take the largest clip that the rule allows, not the best."""
    rule, best = network.rule, network.best
    if best is None:
        return Finding("No run has a result, so nothing is known of the rule.", NONE)
    if rule is None:
        accuracy = best.arm.mean()
        return Finding(
            f"{_drawn(network)}; no clip was run that it allows. The best by validation is "
            f"{best.known_as}: {accuracy.show(100)} % test accuracy ({seeds(accuracy.n)}).",
            accuracy,
        )
    if rule is best:
        accuracy = best.arm.mean()
        return Finding(
            f"{_drawn(network)}: of those run it allows up to {rule.known_as}, which is the best "
            f"by validation, with {accuracy.show(100)} % test accuracy ({seeds(accuracy.n)}).",
            accuracy,
        )
    cost = _difference(best, rule)
    return Finding(
        f"{_drawn(network)}: of those run it allows up to {rule.known_as}, which {_cost(cost)} "
        f"{best.known_as}, the best by validation{_verdict(network, cost)}: {points(cost)} "
        f"({seeds(cost.n)}, paired).",
        cost,
        nested([(network.chosen, rule.arm)]),
    )


def _drawn(network: Network) -> str:
    config = network.clips[0].arm.config
    size = f"width {config['width']} and depth {config['depth']}"
    if math.isnan(network.line):
        return f"At {size} the rule (escape below {100 * ESCAPE:g} %) allows no clip"
    return (
        f"At {size} the rule (escape below {100 * ESCAPE:g} %) draws the line at clip "
        f"{network.line:.3f}"
    )


def _cost(cost: Interval) -> str:
    if not cost.known:
        return "is not known to cost or gain against"
    if not cost.excludes(0.0):
        return "is not told apart from"
    return "costs test accuracy against" if cost.estimate < 0 else "gains test accuracy against"


def _verdict(network: Network, cost: Interval) -> str:
    """On which side of the best the rule's line lies, where its clip costs something.

    The line lies between the rule's clip and the next, so it is too careful only if the next is.
    """
    rule, best = network.rule, network.best
    if rule is None or best is None or not cost.high < 0:
        return ""
    if best.height < rule.height:
        return ", so the rule is too bold here"
    beyond = network.after(rule)
    if beyond is not None and _difference(best, beyond).high < 0:
        return ", so the rule is too careful here"
    return ", so the rule may be too careful here (no clip was run between it and the next)"


def _beside(network: Network) -> list[Finding]:
    """The clips beside the rule's, and none, against it; the best is in the headline."""
    rule = network.rule
    if rule is None:
        return []
    unclipped = next((c for c in network.clips if not c.finite), None)
    others = dict.fromkeys((network.after(rule), network.before(rule), unclipped))
    return [_against(rule, c) for c in others if c is not None and c is not network.best]


def _against(one: Clip, other: Clip) -> Finding:
    effect = _difference(one, other)
    return Finding(
        f"From {one.name} to {other.known_as} test accuracy {change(effect)}: {points(effect)} "
        f"({seeds(effect.n)}, paired).",
        effect,
    )


def _as_good(network: Network) -> list[Finding]:
    """The clips around the best that are not told apart from it, and the lines that choose them."""
    best = network.best
    if best is None:
        return []
    first, last = (_end_of_alike(network.clips[::step], best) for step in (-1, 1))
    found = [_choosing(network, best, first, last)] if first is not last else []
    beyond = network.after(last)
    if beyond is not None:
        found.append(_against(best, beyond))
    return found


def _end_of_alike(clips: Sequence[Clip], best: Clip) -> Clip:
    """From the best on, the last clip before one that is told apart from it."""
    after = clips[clips.index(best) + 1 :]
    alike = list(takewhile(lambda clip: _alike(_difference(best, clip)), after))
    return alike[-1] if alike else best


def _alike(gap: Interval) -> bool:
    return gap.known and not gap.high < 0


def _choosing(network: Network, best: Clip, first: Clip, last: Clip) -> Finding:
    """The lines that choose a clip as good as the best, and whether the rule's is one of them."""
    beyond = network.after(last)
    upper = "100" if beyond is None else percent(beyond.escape)
    inside = first.escape < ESCAPE and (beyond is None or beyond.escape >= ESCAPE)
    furthest = first if last is best else last
    gap = _difference(best, furthest)
    return Finding(
        f"Not told apart from {best.name}, the best, are those from {first.name} to {last.name}, "
        f"which a line anywhere from {percent(first.escape)} % to {upper} % would choose; "
        f"{100 * ESCAPE:g} % is {'one' if inside else 'none'} of those. "
        f"{furthest.name.capitalize()} against the best: {points(gap)} ({seeds(gap.n)}, paired).",
        gap,
    )


def _failures(network: Network) -> list[Finding]:
    """The share of runs that fail on each side of the line, and the difference, seed by seed."""
    below = [clip.arm for clip in network.clips if clip.allowed]
    above = [clip.arm for clip in network.clips if clip.escape >= ESCAPE]
    sides = [_failing(those, word) for those, word in ((below, "below"), (above, "at or above"))]
    if not (below and above):
        return [finding for finding in sides if finding.interval.n]
    rise = paired(_failed_by_seed(below), _failed_by_seed(above), within=DIFFERENCES)
    sides.append(
        Finding(
            f"From below the line to above it the share of runs that fail {change(rise)}: "
            f"{points(rise)} ({seeds(rise.n)}, paired).",
            rise,
        )
    )
    return sides


def _failing(those: Sequence[Arm], side: str) -> Finding:
    said, rate = failing(rows_of(those))
    return Finding(f"Where the predicted escape is {side} {100 * ESCAPE:g} %, {said}.", rate)


def _failed_by_seed(those: Sequence[Arm]) -> dict[int, float]:
    """The share of the runs of each seed that fail."""
    found: dict[int, list[bool]] = {}
    for row in (row for arm in those for row in arm.rows):
        found.setdefault(row.seed, []).append(bool(row["failed"]))
    return {seed: sum(failed) / len(failed) for seed, failed in found.items()}


def _difference(one: Clip, other: Clip) -> Interval:
    return between([(one.arm, other.arm)])


def _table(network: Network) -> Table:
    """Every clip with its prediction, and its differences from the rule's and the best."""
    against = [c for c in dict.fromkeys((network.rule, network.best)) if c is not None]
    base = arm_table("", [clip.arm for clip in network.clips], ("clip",), "zeros_end", "q_end")
    less = (f"less {clip.name}, points" for clip in against)
    columns = (base.columns[0], "predicted escape, %", *base.columns[1:], *less)
    rows = (
        (row[0], percent(clip.escape), *row[1:], *(_less(one, clip) for one in against))
        for clip, row in zip(network.clips, base.rows, strict=True)
    )
    title = f"{network.where}Every clip".replace(": Every", ", every")
    return Table(title, columns, tuple(rows), base.note)


def _less(one: Clip, clip: Clip) -> str:
    return "–" if clip is one else points(_difference(one, clip)).removesuffix(" points")


def _draw(found: Sequence[Network]) -> Figure:
    figure, panels = grid_of(3, columns=3, width=11.0, height=3.6)
    shades = looks(len(found))
    ends: Ends = []
    for network, look in zip(found, shades, strict=True):
        ends += _over_clip(panels[0], network, look)
        _over_escape(panels[2], network, look)
    chances = [_chances(panels[1], network) for network in found]
    for axes in panels[:2]:
        _mark_clips(axes, found)
    _mark_escape(panels[2])
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    label_ends(panels[1], chances[0])
    label_ends(panels[0], ends if found[1:] else [])
    return figure


def _over_clip(axes: Axes, network: Network, look: Look) -> Ends:
    """Test accuracy over the clip, a line through all that have one; where it ends."""
    clipped = [clip for clip in network.clips if clip.finite]
    drawn = draw_arms(axes, [c.height for c in clipped], [c.arm for c in clipped], look)
    others = [clip for clip in network.clips if not clip.finite]
    draw_arms(axes, _places(network, others), [clip.arm for clip in others], look)
    axes.set_ylabel(SHOWN["test_accuracy"][0])
    return [(drawn[-1][1], network.where.removesuffix(": "), look)] if drawn else []


def _chances(axes: Axes, network: Network) -> Ends:
    """The predicted chance over the clip, and the share of runs that failed; where they end."""
    predicted, failed = looks(2)
    known = [clip for clip in network.clips if not math.isnan(clip.escape)]
    xs, chances = _places(network, known), [100 * clip.escape for clip in known]
    axes.plot(xs, chances, color=predicted.colour, marker="o", ms=3, linewidth=1.4, zorder=2)
    rates = [clip.arm.failing().scaled(100) for clip in network.clips]
    for x, rate in zip(_places(network, network.clips), rates, strict=True):
        axes.plot([x] * 2, [rate.low, rate.high], color=failed.colour, linewidth=1.4)
        axes.plot([x], [rate.estimate], "o", color=failed.colour, ms=5, mec="white", mew=0.6)
    axes.set_ylim(-3, 103)
    axes.set_ylabel("share of networks, %")
    ends = [(rates[-1].estimate, "runs that\nfailed", failed)]
    return ends + [(y, "predicted\nto escape", predicted) for y in chances[-1:]]


def _over_escape(axes: Axes, network: Network, look: Look) -> None:
    """Test accuracy over the predicted chance; what is below the floor stands on it."""
    known = [clip for clip in network.clips if not math.isnan(clip.escape)]
    xs = [max(clip.escape, _FLOOR) for clip in known]
    drawn = draw_arms(axes, xs, [clip.arm for clip in known], look, join=False)
    points = [(x, y) for x, y in drawn if x > _FLOOR]
    for one, other in pairwise(points):
        axes.plot(*zip(one, other, strict=True), look.dash, color=look.colour, linewidth=1.4)
    axes.set_ylabel(SHOWN["test_accuracy"][0])


def _mark_clips(axes: Axes, found: Sequence[Network]) -> None:
    """Name clips on the x axis, none at its end, and draw the rule's lines."""
    clips = [clip for network in found for clip in network.clips]
    finite = [clip.height for clip in clips if clip.finite]
    ticks = {x: f"{x:g}" for x in _round_values(finite)}
    ticks |= {x: "none" for network in found for x in _places(network, clips) if x not in finite}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("clip, in units of √q*")
    for network in found:
        if not math.isnan(network.line):
            _mark(axes, network.line, f"rule: {network.line:.3f}")


def _mark_escape(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(_FLOOR / 2, 2)
    axes.set_xticks([_FLOOR, 1e-4, 1e-2, 1], ["≤ 0.0001 %", "0.01 %", "1 %", "100 %"])
    axes.minorticks_off()
    axes.set_xlabel("predicted to escape")
    _mark(axes, ESCAPE, "rule")


def _mark(axes: Axes, x: float, name: str) -> None:
    """A dashed line, named above the axes."""
    axes.axvline(x, color=QUIET, linestyle="--", linewidth=1.0, zorder=1)
    axes.annotate(
        name,
        (x, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        color=QUIET,
        fontsize=8,
    )


def _places(network: Network, clips: Iterable[Clip]) -> list[float]:
    """Where clips stand on an axis: no clip at all a step beyond the largest."""
    beyond = max((clip.height for clip in network.clips if clip.finite), default=0.5) + 0.5
    return [clip.height if clip.finite else beyond for clip in clips]


def _round_values(heights: Sequence[float]) -> list[float]:
    """Multiples of a half from the smallest height to the largest."""
    if not heights:
        return []
    low, high = math.floor(2 * min(heights)), math.ceil(2 * max(heights))
    return [half / 2 for half in range(low, high + 1)]
