"""Where the energy of a network goes: its modelled column as a picture, dense beside sparse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.energy import Ledger, Parts, group_layers
from sparsefield.pictures.plotting import INK, QUIET, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUPS = 9
_UNITS = ((1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
# Okabe and Ito's palette, the costliest part as a rule in the strongest colour
_LOOKS = {
    "weights_memory": ("weights from memory", "#0072B2"),
    "weights_cache": ("weights through cache", "#56B4E9"),
    "arithmetic": ("arithmetic", "#D55E00"),
    "activations": ("activations", "#009E73"),
    "indices": ("indices", "#CC79A7"),
}
_BARS = (-0.2, 0.2)  # dense and sparse, from the middle of their row
_RANGE: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.9, "capsize": 3}


@house_style
def energy_figure(ledger: Ledger) -> Figure:
    """The whole network above, its layers (grouped where there are many) below, in one unit."""
    modelled = ledger.modelled
    groups = group_layers(ledger.counted.layers, _GROUPS)
    members = [modelled.layers[group.span] for group in groups]
    pairs = [(_mean([x.dense for x in each]), _mean([x.chosen for x in each])) for each in members]
    longest = max(parts.total for pair in pairs for parts in pair)
    factor, unit = next((unit for unit in _UNITS if longest >= unit[0]), _UNITS[-1])

    figure = new_figure(5.5, 2.3 + 0.32 * len(groups))
    whole, layers = figure.subplots(2, 1, height_ratios=(0.7, 0.32 * len(groups)))
    _draw(whole, ["whole network"], [(modelled.dense, modelled.sparse)], factor)
    ends = np.array([modelled.dense_range, modelled.sparse_range]) / factor
    totals = np.array([[modelled.dense.total], [modelled.sparse.total]]) / factor
    whole.errorbar(totals[:, 0], _BARS, xerr=np.abs(ends - totals).T, **_RANGE)
    whole.set_xlabel(f"{unit} per inference (whiskers: what the table leaves open)")
    _draw(layers, [group.label for group in groups], pairs, factor)
    layers.set_xlabel(f"{unit} per inference of one layer, mean of a group")
    figure.legend(*layers.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(_heading(ledger), x=0.01, ha="left", fontsize=9, color=QUIET)
    return figure


def _heading(ledger: Ledger) -> str:
    modelled = ledger.modelled
    return (
        f"Modelled, not measured: table {modelled.table.name}, {modelled.arithmetic} arithmetic\n"
        f"batch {ledger.counted.batch}, {modelled.weights.name} weights from "
        f"{modelled.weights_home.name}"
    )


def _mean(parts: Sequence[Parts]) -> Parts:
    """Of the layers of a group, so that bars of different groups compare."""
    whole = sum(parts, Parts())
    return Parts(**{name: getattr(whole, name) / len(parts) for name in _LOOKS})


def _draw(
    axes: Axes, names: Sequence[str], pairs: Sequence[tuple[Parts, Parts]], factor: float
) -> None:
    """Two bars a row with what they add up to, dense above sparse."""
    for row, pair in enumerate(pairs):
        for y, parts, kind in zip(_BARS, pair, ("dense", "sparse"), strict=True):
            left = 0.0
            for part, (label, colour) in _LOOKS.items():
                width = getattr(parts, part) / factor
                first = label if (row, kind) == (0, "dense") else None
                axes.barh(row + y, width, 0.36, left=left, color=colour, label=first)
                left += width
            text = f"{kind} {left:.0f}" if left >= 100 else f"{kind} {left:.3g}"
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
            axes.annotate(text, (1.02, row + y), fontsize=8, color=INK, **place)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.grid(visible=False, axis="y")
