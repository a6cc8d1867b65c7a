"""Where the energy of a network goes: its modelled column as a picture, dense beside sparse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sparsefield.energy import Group, Ledger, Modelled, Parts, group_layers
from sparsefield.pictures.plotting import INK, QUIET, new_figure, styled

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


def energy_figure(ledger: Ledger) -> Figure:
    """The whole network above, its layers (grouped where there are many) below."""
    return styled(lambda: _energy_figure(ledger))


def _energy_figure(ledger: Ledger) -> Figure:
    groups = group_layers(ledger.counted.layers, _GROUPS)
    figure = new_figure(5.5, 2.1 + 0.32 * len(groups))
    whole, layers = figure.subplots(2, 1, height_ratios=(0.75, 0.32 * len(groups)))
    _draw_whole(whole, ledger.modelled)
    _draw_layers(layers, ledger.modelled, groups)
    handles, labels = whole.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.suptitle(_heading(ledger), x=0.01, ha="left", fontsize=9, color=QUIET)
    return figure


def _heading(ledger: Ledger) -> str:
    modelled = ledger.modelled
    return (
        f"Modelled, not measured: table {modelled.table.name}, {modelled.arithmetic} arithmetic\n"
        f"batch {ledger.counted.batch}, {modelled.weights.name} weights from "
        f"{modelled.weights_home.name}"
    )


def _draw_whole(axes: Axes, modelled: Modelled) -> None:
    factor, unit = _unit([modelled.dense])
    bars = (modelled.dense, modelled.sparse)
    _stack(axes, bars, (0.0, 1.0), factor, height=0.7)
    for row, (name, parts) in enumerate(zip(("dense", "sparse"), bars, strict=True)):
        label = f" {name}, {parts.total / factor:.3g} {unit}"
        axes.text(parts.total / factor, row, label, va="center", fontsize=8, color=INK)
    axes.set_xlim(0.0, 1.3 * modelled.dense.total / factor)
    axes.set_ylim(1.6, -0.6)
    axes.set_yticks([])
    axes.set_xlabel(f"{unit} per inference, the whole network")


def _draw_layers(axes: Axes, modelled: Modelled, groups: Sequence[Group]) -> None:
    """Two bars a group: nothing skipped above, the cheaper way below."""
    members = [modelled.layers[group.span] for group in groups]
    dense = [_mean(layer.dense for layer in group) for group in members]
    sparse = [_mean(layer.chosen for layer in group) for group in members]
    factor, unit = _unit(dense)
    rows = range(len(groups))
    _stack(axes, dense, [row - 0.2 for row in rows], factor, height=0.36)
    _stack(axes, sparse, [row + 0.2 for row in rows], factor, height=0.36)
    axes.set_xlim(0.0, 1.05 * max(parts.total for parts in dense) / factor)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_yticks(rows, [group.label for group in groups])
    axes.set_xlabel(f"{unit} per inference, one layer: dense above, sparse below")


def _mean(parts: Iterable[Parts]) -> Parts:
    """Of the layers of a group, so that bars of different groups compare."""
    each = list(parts)
    whole = sum(each, Parts())
    return Parts(**{name: getattr(whole, name) / len(each) for name in _LOOKS})


def _unit(bars: Sequence[Parts]) -> tuple[float, str]:
    """The largest unit below the longest bar, in picojoules."""
    longest = max(parts.total for parts in bars)
    return next((unit for unit in _UNITS if longest >= unit[0]), _UNITS[-1])


def _stack(
    axes: Axes, bars: Sequence[Parts], places: Sequence[float], factor: float, *, height: float
) -> None:
    lefts = [0.0] * len(bars)
    for part, (label, colour) in _LOOKS.items():
        widths = [getattr(parts, part) / factor for parts in bars]
        axes.barh(places, widths, height, left=lefts, color=colour, label=label)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    axes.grid(visible=False, axis="y")
