"""Accuracy over realised zeros, one look a method, without and with the skip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.pictures.plotting import Look, grid_of, label_ends, looks
from sparsefield.studies.contenders import DENSE, THRESHOLDS, Contender
from sparsefield.studies.equal_zeros import in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Test accuracy over the share of exact zeros that the trained network has on the test set, "
    "mean over layers; one line a method, joined in the order of what it is turned by: the "
    "sparsity asked for, the weight of the penalty, the level. Dots: means; bars: 95 % intervals "
    "of both, cut off at the frame; faint dots: seeds; crosses: "
    "every run failed (beyond 98 % zeros, drawn there). Thresholds: the "
    "trained dense networks cut off at rising levels, from as they were trained. "
    "Both axes give equal room to equal factors of what is missing to 100 %. Zeros are of the runs "
    "that did not fail, accuracy is of all."
)
_TICKS = (0, 50, 70, 80, 85, 90, 95, 97, 98, 99, 99.5)
_LAST = 99.7  # what is closer to 100 % is drawn there
_DEAD = 0.98  # a dead network has nothing but zeros, and would take half of the axis
_MEAN: dict[str, Any] = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.6, "zorder": 4}
_FAILED: dict[str, Any] = {"marker": "x", "ms": 6, "mew": 1.6, "zorder": 4}
_SEED: dict[str, Any] = {"marker": "o", "ms": 3, "mew": 0, "alpha": 0.35, "linestyle": "none"}
_WIDTH = 1.4


def draw(everyone: Sequence[Contender], cut: Sequence[Contender], skips: Sequence[float]) -> Figure:
    """One panel a skip."""
    figure, panels = grid_of(len(skips), columns=2, width=10.0, height=4.2)
    methods = list(dict.fromkeys(one.method for one in everyone if one.method != DENSE))
    methods += [THRESHOLDS] if cut or any(one.method == DENSE for one in everyone) else []
    look = dict(zip(methods, looks(len(methods)), strict=True))
    lines = [_lines(everyone, cut, skip, methods) for skip in skips]
    ends = [_panel(*one, look) for one in zip(panels, skips, lines, strict=True)]
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, found in zip(panels, ends, strict=True):
        label_ends(axes, found)
    return figure


def _lines(
    everyone: Sequence[Contender], cut: Sequence[Contender], skip: float, methods: Sequence[str]
) -> dict[str, list[Contender]]:
    """The contenders of each method at one skip, from fewest zeros to most."""
    here = [one for one in (*everyone, *cut) if one.skip == skip and one.zeros]
    named = [(THRESHOLDS if one.method == DENSE else one.method, one) for one in here]
    lines = {name: [one for method, one in named if method == name] for name in methods}
    return {
        name: sorted(line, key=lambda one: one.sparse().estimate)
        for name, line in lines.items()
        if line
    }


def _panel(
    axes: Axes, skip: float, lines: dict[str, list[Contender]], look: dict[str, Look]
) -> list[tuple[float, str, Look]]:
    """Draw one skip; where each line ends, its label and look."""
    for name, line in lines.items():
        _line(axes, line, look[name])
    _scale(axes)
    axes.set_title(f"skip {skip:g}" if skip else "no skip")
    axes.set_xlabel("zeros at the end, %")
    axes.set_ylabel("test accuracy, %")
    return [
        (_at((_joined(line) or line)[-1].accurate().estimate), _label(name, line), look[name])
        for name, line in lines.items()
    ]


def _label(name: str, line: Sequence[Contender]) -> str:
    if name != THRESHOLDS:
        return name
    return "dense ReLU,\nthresholds" if line[1:] else DENSE


def _line(axes: Axes, line: Sequence[Contender], look: Look) -> None:
    for one in line:
        _cross(axes, one, look)
    joined = [_place(one) for one in _joined(line)]
    if joined:
        axes.plot(*zip(*joined, strict=True), look.dash, color=look.colour, linewidth=1, alpha=0.7)


def _joined(line: Sequence[Contender]) -> Sequence[Contender]:
    """Those that train, in the order of what the method is turned by, the dense network first."""
    trained = [one for one in line if not one.failed]
    return [
        *(one for one in trained if one.method == DENSE),
        *in_order(one for one in trained if one.method != DENSE),
    ]


def _place(one: Contender) -> tuple[float, float]:
    return _at(one.sparse().estimate), _at(one.accurate().estimate)


def _cross(axes: Axes, one: Contender, look: Look) -> None:
    x, y = _place(one)
    if one.failed:
        axes.plot([min(x, _at(_DEAD))], [y], color=look.colour, **_FAILED)
        return
    both = one.zeros.keys() & one.accuracy.keys()
    across, upwards = ([_at(by[seed]) for seed in both] for by in (one.zeros, one.accuracy))
    axes.plot(across, upwards, color=look.colour, **_SEED)
    zeros, accuracy = one.sparse(), one.accurate()
    if zeros.known:
        axes.plot([_at(zeros.low), _at(zeros.high)], [y, y], color=look.colour, linewidth=_WIDTH)
    if accuracy.known:
        ends = [_at(accuracy.low), _at(accuracy.high)]
        axes.plot([x, x], ends, color=look.colour, linewidth=_WIDTH)
    axes.plot([x], [y], color=look.colour, **_MEAN)


def _scale(axes: Axes) -> None:
    """Equal room for equal factors of what is missing to 100 %, the values as ticks."""
    sides: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
        (axes.set_xticks, axes.get_xlim),
        (axes.set_yticks, axes.get_ylim),
    )
    limits = [limit() for _, limit in sides]
    limits[0] = _across(axes)
    for (set_ticks, _), (low, high) in zip(sides, limits, strict=True):
        inside = [tick for tick in _TICKS if low <= _at(tick / 100) <= high]
        set_ticks([_at(tick / 100) for tick in inside], [f"{tick:g}" for tick in inside])
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def _across(axes: Axes) -> tuple[float, float]:
    """Room for what is marked: a bar of two seeds may be longer than all else."""
    lines = [line for line in axes.lines if line.get_marker() != "None"]
    marked = [float(x) for line in lines for x in np.asarray(line.get_xdata(), dtype=float)]
    if not marked:
        return axes.get_xlim()
    room = 0.06 * (max(marked) - min(marked)) or 0.05
    return min(marked) - room, max(marked) + room


def _at(share: float) -> float:
    """Where a share lies on an axis: minus the logarithm of what is missing to 1."""
    return -math.log10(1 - min(share, _LAST / 100))
