"""The figure of a study: arms at what validation chose, every other value tried faint beside them.

A study's file declares it::

    figure:
      alt: what is drawn, for those who cannot see it
      caption: what is seen
      panels:
        - title: no skip
          where: {skip: 0}      # of these runs
          choose: [clip]        # what validation chooses, beside the study's tuned fields
          each: [lr]            # tuned fields of which every value is shown
          x: zeros_end          # a field or a quantity
          y: test_accuracy      # a quantity
          line: name            # one look a value of this field, or of the study's own names
          scale: {x: log, y: missing}   # missing: equal room for equal factors of 1 - share
          limits: {y: [0, 100]}
          mark: {x: [1], y: [90]}       # dashed lines across
          join: false           # marks without a line
          tried: false          # only what validation chose
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, Look, house_style, looks, new_figure
from sparsefield.studies import Arm, Record, Study, arms
from sparsefield.studies.quantities import QUANTITIES, quantity
from sparsefield.studies.tables import heading, named, shown
from sparsefield.sweep.labels import family, phrase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "os^DvPX"
_WIDTH, _HEIGHT, _ASIDE = 4.4, 3.9, 0.05  # inches of a panel; of a step, from line to line
_TICKS = (0, 50, 70, 80, 85, 90, 93, 95, 96, 97, 98, 99, 99.5)
_LAST = 99.7  # per cent: what is closer to 100 is drawn there, where room is for what is missing
Spec = Mapping[str, Any]
Style = dict[str, Any]
Lines = dict[str, list[Arm]]
Looks = dict[str, tuple[Look, str]]
Place = tuple[tuple[float, ...], tuple[float, ...]]  # (x, low, high) and (y, low, high)


@house_style
def draw_study(study: Study, record: Record) -> Figure:
    """The figure that a study declares, from a record; without panels, accuracy over zeros."""
    panels = study.figure.get("panels") or [{"x": "zeros_end", "y": "test_accuracy"}]
    found = [_lines(study, record, spec) for spec in panels]
    figure = new_figure(_WIDTH * len(panels), _HEIGHT)
    same = all(lines.keys() == found[0].keys() for lines in found)
    below: Style = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 3}
    for number, (spec, lines) in enumerate(zip(panels, found, strict=True), 1):
        axes = figure.add_subplot(1, len(panels), number)
        look = dict(zip(lines, zip(looks(len(lines)), _MARKERS * 4, strict=False), strict=False))
        _panel(axes, spec, lines, look)
        key = [_handle(name, one.colour, marker=mark, lw=1) for name, (one, mark) in look.items()]
        if not same:
            axes.legend(handles=key, labelcolor=INK, **below)
    marks = [*(key if same else []), *_common(panels, found)]
    figure.legend(handles=marks, loc="outside lower center", ncols=3 * len(panels), labelcolor=INK)
    return figure


def _lines(study: Study, record: Record, spec: Spec) -> Lines:
    """The arms of each look by what they are called, in the order of numbers or of the record."""
    options = {key: spec.get(key, ()) for key in ("choose", "each")}
    kept = [arm for arm in arms(record, spec.get("where"), **options) if arm.by_seed(spec["y"])]
    field = spec.get("line", "name")
    if field not in ("name", "family"):
        kept.sort(key=lambda arm: (arm[field] is None, arm[field]))
    lines: Lines = {}
    for arm in kept:
        own = {"name": lambda row: named(study, row), "family": lambda row: family(row.config)}
        called = own.get(field, lambda row: phrase(field, row[field]))(arm.rows[0])
        lines.setdefault(called, []).append(arm)
    return lines


def _panel(axes: Axes, spec: Spec, lines: Lines, look: Looks) -> None:
    values = _values(spec, lines)
    for number, (name, those) in enumerate(lines.items()):
        _line(axes, spec, those, look[name], values, _ASIDE * (number - (len(lines) - 1) / 2))
    for name in ("x", "y"):
        _scale(axes, spec, name)
    if values and (_by_place(spec, values) or len(values) < 8):
        at = range(len(values)) if _by_place(spec, values) else map(float, values)
        axes.set_xticks(list(at), [shown(value) for value in values])
        axes.xaxis.minorticks_off()
    axes.set(xlabel=heading(spec["x"]), ylabel=heading(spec["y"]), title=spec.get("title", ""))
    for name, line in (("x", axes.axvline), ("y", axes.axhline)):
        for value in spec.get("mark", {}).get(name, []):
            line(value, color=QUIET, linestyle="--", linewidth=1.0, zorder=1)


def _line(
    axes: Axes, spec: Spec, those: Sequence[Arm], look: tuple[Look, str], values: Any, aside: float
) -> None:
    style: Style = {"color": look[0].colour, "marker": look[1], "linestyle": "none"}
    for one in _passed_over(those, spec):
        x, y = (end[0] for end in _at(one, spec, values, aside))
        axes.plot([x], [y], ms=3.5, mew=0, alpha=0.35, **style)
    places = sorted((_at(arm, spec, values, aside), _dead(arm)) for arm in those)
    if spec.get("join", True):
        dash = "-" if len(places) > 2 else ":"  # two points are no line: only what belongs together
        xs, ys = ([at[axis][0] for at, _ in places] for axis in (0, 1))
        axes.plot(xs, ys, dash, color=style["color"], linewidth=1.0, alpha=0.6, zorder=2)
    for ((x, *across), (y, *upwards)), dead in places:
        for xs, ys in ((across, [y] * len(across)), ([x] * len(upwards), upwards)):
            axes.plot(xs, ys, color=style["color"], linewidth=1.3)
        fill: Style = {"mfc": "white", "mew": 1.2} if dead else {"mec": "white", "mew": 0.6}
        axes.plot([x], [y], ms=6, zorder=3, **fill, **style)


def _passed_over(those: Iterable[Arm], spec: Spec) -> list[Arm]:
    """What was tried and not chosen, as far as it has a result."""
    others = (one for arm in those for one in arm.tried() if one.rows != arm.rows)
    return [one for one in others if spec.get("tried", True) and one.by_seed(spec["y"])]


def _dead(arm: Arm) -> bool:
    return arm.failed == len(arm.rows)


def _at(arm: Arm, spec: Spec, values: Sequence[Any], aside: float) -> Place:
    """Where an arm stands, with the ends of its intervals."""
    y = _ends(arm, spec["y"])
    if spec["x"] in QUANTITIES:
        return _ends(arm, spec["x"]), y
    value = arm[spec["x"]]
    at = values.index(value) + aside if _by_place(spec, values) else value * (1 + aside)
    return (float(at),), y


def _ends(arm: Arm, name: str) -> tuple[float, ...]:
    found = arm.mean(name).scaled(quantity(name).scale)
    known = found.known and found.low < found.high
    return (found.estimate, found.low, found.high) if known else (found.estimate,)


def _values(spec: Spec, lines: Lines) -> list[Any]:
    """The values of a field on the x axis, none last; nothing where x is a quantity."""
    if spec["x"] in QUANTITIES:
        return []
    values = {arm[spec["x"]] for those in lines.values() for arm in those}
    return sorted(values, key=lambda value: math.inf if value is None else value)


def _by_place(spec: Spec, values: Sequence[Any]) -> bool:
    """Whether values stand at equal distances: where one is none, or no scale is asked for."""
    return None in values or "x" not in spec.get("scale", {})


def _scale(axes: Axes, spec: Spec, name: str) -> None:
    scale, limits = (spec.get(key, {}).get(name) for key in ("scale", "limits"))
    axis = getattr(axes, f"{name}axis")
    if scale == "missing":
        low, high = limits or getattr(axes, f"get_{name}lim")()
        limits = max(low, 0), min(high, _LAST)
        getattr(axes, f"set_{name}scale")("function", functions=(_missing, _present))
        ticks = [tick for tick in _TICKS if limits[0] <= tick <= limits[1]]
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    elif scale:
        getattr(axes, f"set_{name}scale")(scale)
        axis.set_major_formatter("{x:g}")
    if limits:
        getattr(axes, f"set_{name}lim")(*limits)


def _missing(percent: Any) -> Any:
    return -np.log10(100 - np.minimum(percent, _LAST))


def _present(place: Any) -> Any:
    return 100 - 10.0 ** -np.asarray(place)


def _common(panels: Sequence[Spec], found: Sequence[Lines]) -> list[Any]:
    """What is drawn alike in every colour."""
    pairs = [(one, spec) for some, spec in zip(found, panels, strict=True) for one in some.values()]
    dots: Style = {"marker": "o", "lw": 0}
    marks = {
        "tried, not chosen": any(_passed_over(*pair) for pair in pairs)
        and {"ms": 3.5, "alpha": 0.5},
        "every run failed": any(_dead(arm) for those, _ in pairs for arm in those)
        and {"mfc": "white"},
    }
    return [_handle(name, QUIET, **dots | own) for name, own in marks.items() if own]


def _handle(name: str, colour: str, **style: Any) -> Any:
    line = require("matplotlib.lines", "report").Line2D
    return line([], [], color=colour, label=name, **{"ms": 6} | style)
