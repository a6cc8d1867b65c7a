"""The ledger as a page of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from sparsefield.energy.counted import ActivationCount, Counted
from sparsefield.energy.grouping import Group, group_activations, group_layers
from sparsefield.energy.measured import CounterResult, Measured
from sparsefield.energy.modelled import Modelled, Parts, whole
from sparsefield.energy.traffic import Traffic
from sparsefield.energy.training import Step, TrainingColumn

ROWS = 16
Traffics = tuple[Sequence[Traffic], Sequence[Traffic]]
_SPENT = ("arithmetic", "weights, memory", "weights, cache", "activations", "indices")

_UNITS = {
    "J": ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ"), (1e-12, "pJ")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "": ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
}


def scaled(value: float, unit: str) -> str:
    """Three digits with a prefix.

    >>> scaled(12_345, "B"), scaled(4.2e-7, "J"), scaled(0.0, "J"), scaled(950, "")
    ('12.3 kB', '420 nJ', '0 J', '950')
    """
    if value == 0.0:
        return f"0 {unit}".strip()
    # a shade below the unit, so that 999.9 is written as 1 of the next
    factor, name = next(
        ((f, n) for f, n in _UNITS[unit] if abs(value) >= 0.9995 * f), _UNITS[unit][-1]
    )
    return f"{value / factor:.3g} {name}".strip()


def _unit_for(value: float, unit: str) -> tuple[float, str]:
    """The prefix in which ``value`` has two or more digits before the point."""
    return next(((f, n) for f, n in _UNITS[unit] if value >= 10 * f), _UNITS[unit][-1])


def _plain(value: float) -> str:
    """Three digits or all before the point, without a prefix.

    >>> _plain(2937.4), _plain(16.02), _plain(0.0), _plain(0.00054721)
    ('2937', '16', '0', '0.000547')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ledger_text(
    counted: Counted, traffic: Traffics, modelled: Modelled, measured: Sequence[Measured]
) -> str:
    """Three parts, each under its own heading."""
    groups = group_layers(counted.layers, ROWS)
    blocks = [
        _counted(counted),
        *([_activation_table(counted)] if counted.activations else []),
        _layer_table(counted, groups),
        _traffic_table(counted, groups, traffic),
        _modelled(modelled),
        _energy_table(modelled, groups),
        _measured(measured),
    ]
    return "\n\n".join(blocks)


def training_text(training: TrainingColumn) -> str:
    """A step, dense and on lists."""
    kinds = ("forward", "input_gradient", "weight_gradient", "update")
    dense, lists = training.dense, training.lists
    rows: list[tuple[str, ...]] = [
        *((kind.replace("_", " "), *_both(dense, lists, kind, "")) for kind in kinds),
        ("weights, gradients, moments", *_both(dense, lists, "weight_bytes", "B")),
        ("activations", *_both(dense, lists, "activation_bytes", "B")),
        ("modelled", *(scaled(1e-12 * step.picojoules, "J") for step in (dense, lists))),
    ]
    head = f"TRAINING, a step of {training.optimizer} per sample"
    return _table((head, "dense", "on lists"), rows)


def _both(dense: Step, lists: Step, name: str, unit: str) -> tuple[str, str]:
    return scaled(getattr(dense, name), unit), scaled(getattr(lists, name), unit)


def _counted(counted: Counted) -> str:
    sparsity = counted.activation_sparsity
    share = (counted.effective_macs + counted.effective_acs) / counted.dense_macs
    sums = f", {scaled(counted.effective_acs, '')} ACs" if counted.effective_acs else ""
    lines = [
        f"COUNTED on {counted.samples} samples, batch {counted.batch}; per inference",
        "activation sparsity  "
        + ("no activation modules" if sparsity is None else f"{sparsity:.4f}"),
        f"products             {scaled(counted.dense_macs, '')} dense, effective "
        f"{scaled(counted.effective_macs, '')} MACs{sums} ({100 * share:.1f} %)",
        f"dead units           {counted.dead_units} of {counted.units}{_dead(counted)}",
    ]
    if counted.uncounted:
        lines.append(f"in no column         {', '.join(counted.uncounted)}")
    return "\n".join(_wrapped(line) for line in lines)


def _dead(counted: Counted) -> str:
    """The sparsity without them."""
    each = counted.activations
    alive = _total(each, "alive_values")
    if not counted.dead_units or not alive:
        return ""
    active = _total(each, "values") - _total(each, "zeros")
    return f" (zero for all samples); sparsity of the others {1 - active / alive:.4f}"


def _activation_table(counted: Counted) -> str:
    head = ("activation", "sparsity", "of living units", "dead units", "at the clip")
    rows = []
    for group in group_activations(counted.activations, ROWS):
        members = counted.activations[group.span]
        values, alive = _total(members, "values"), _total(members, "alive_values")
        active = values - _total(members, "zeros")
        dead = f"{sum(len(a.dead_units) for a in members)} of {_total(members, 'units')}"
        living = f"{1 - active / alive:.4f}" if alive else "none"
        rows.append((group.label, f"{1 - active / values:.4f}", living, dead, _clipped(members)))
    return _table(head, rows)


def _clipped(members: Sequence[ActivationCount]) -> str:
    clipped = [a.saturated for a in members if a.saturated is not None]
    return f"{100 * sum(clipped) / sum(a.values for a in members):.1f} %" if clipped else "no clip"


def _layer_table(counted: Counted, groups: Sequence[Group]) -> str:
    head = ("layer", "shape", "inputs active", "dense MACs", "effective", "share")
    rows = []
    for group in groups:
        layers = counted.layers[group.span]
        dense = _total(layers, "dense_macs") / counted.samples
        effective = sum(x.effective_macs + x.effective_acs for x in layers) / counted.samples
        density = _total(layers, "active_inputs") / _total(layers, "inputs")
        shape = "x".join(map(str, layers[0].weight_shape))
        times = f"{len(layers)} of " if len(layers) > 1 else ""
        counts = (scaled(dense, ""), scaled(effective, ""), f"{100 * effective / dense:.1f} %")
        rows.append((group.label, times + shape, f"{100 * density:.1f} %", *counts))
    return _table(head, rows)


def _traffic_table(counted: Counted, groups: Sequence[Group], traffic: Traffics) -> str:
    kinds = ("weight_memory_bytes", "weight_cache_bytes", "activation_bytes", "index_bytes")
    factor, unit = _unit_for(sum(each.weight_memory_bytes for each in traffic[0]), "B")

    def row(label: str, span: slice) -> tuple[str, ...]:
        return (label, *(_pair([_total(t[span], kind) for t in traffic], factor) for kind in kinds))

    rows = [row(group.label, group.span) for group in groups]
    rows.append(row("network", slice(0, len(counted.layers))))
    return _table((f"{unit}, dense | active rows", *_SPENT[1:]), rows)


def _modelled(modelled: Modelled) -> str:
    table, mac = modelled.table, modelled.table.multiply_add[modelled.arithmetic]
    levels = ", ".join(
        f"{level.name} {level.low_picojoules:g}"
        + (f"-{level.high_picojoules:g}" if level.high_picojoules > level.low_picojoules else "")
        for level in table.levels
    )
    lines = [
        f"MODELLED by table {table.name}; per inference, a model and no measurement",
        f"source               {table.source}",
        f"multiply-add         {modelled.arithmetic}: {mac.multiply_picojoules:g} + "
        f"{mac.add_picojoules:g} pJ ({mac.reading})",
        f"memory               pJ per 64 bits: {levels}; middle of a range",
        f"weights              {modelled.weights.name}, from {modelled.weights_home.name} "
        "once a batch",
        f"left out             {table.leaves_out}",
        "network              " + _whole(modelled),
    ]
    return "\n".join(_wrapped(line) for line in lines)


def _whole(modelled: Modelled) -> str:
    def total(parts: Parts, ends: tuple[float, float]) -> str:
        low, high = (scaled(1e-12 * end, "J") for end in ends)
        return scaled(1e-12 * parts.total, "J") + (f" ({low} to {high})" if low != high else "")

    ratio = modelled.dense.total / modelled.sparse.total
    return (
        f"dense {total(modelled.dense, modelled.dense_range)}, "
        f"sparse {total(modelled.sparse, modelled.sparse_range)}: {ratio:.1f} times less"
    )


def _energy_table(modelled: Modelled, groups: Sequence[Group]) -> str:
    parts = ("arithmetic", "weights_memory", "weights_cache", "activations", "indices", "total")
    factor, unit = _unit_for(1e-12 * modelled.dense.total, "J")

    def row(label: str, span: slice) -> tuple[str, ...]:
        dense, sparse = whole(modelled.layers[span])
        pairs = ([1e-12 * getattr(side, part) for side in (dense, sparse)] for part in parts)
        return (label, *(_pair(pair, factor) for pair in pairs))

    def noted(group: Group) -> str:
        layers = modelled.layers[group.span]
        dense = sum(layer.runs == "dense" for layer in layers)
        note = f" ({'runs' if dense == len(layers) else dense} dense)" if dense else ""
        return group.label + note

    rows = [row(noted(group), group.span) for group in groups]
    rows.append(row("network", slice(0, len(modelled.layers))))
    return _table((f"{unit}, dense | cheaper", *_SPENT, "total"), rows)


def _pair(values: Iterable[float], factor: float) -> str:
    return " | ".join(_plain(value / factor) for value in values)


def _total(members: Iterable[object], name: str) -> float:
    total: float = sum(getattr(each, name) for each in members)
    return total


def _measured(measured: Sequence[Measured]) -> str:
    if not measured:
        return "MEASURED: not asked for"
    return "\n".join(line for each in measured for line in _measured_lines(each))


def _measured_lines(each: Measured) -> list[str]:
    if each.absent is not None:
        return [_wrapped(f"MEASURED, {each.what:<11} {each.absent}")]
    assert each.seconds_per_inference is not None
    head = (
        f"MEASURED, {each.what}: {each.repeats} windows of {each.window_seconds:g} s between idle "
        f"ones, which are subtracted; {1e3 * each.seconds_per_inference:.4g} ms per inference"
    )
    return [_wrapped(head), *(_wrapped(_counter(counter)) for counter in each.counters)]


def _counter(counter: CounterResult) -> str:
    middle, low, high = (
        scaled(value, "J")
        for value in (counter.joules_per_inference, counter.lower_quartile, counter.upper_quartile)
    )
    verdict = "" if counter.above_idle else "; not told apart from the idle machine"
    return (
        f"{counter.counter:<20} {middle} per inference (quartiles {low} to {high}), "
        f"{counter.busy_watts:.1f} W busy, {counter.idle_watts:.1f} W idle{verdict}"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    form = "  ".join(f"{{:{'>' if i else '<'}{width}}}" for i, width in enumerate(widths))
    return "\n".join(form.format(*line).rstrip() for line in (head, *rows))


def _wrapped(line: str) -> str:
    """At most 100 characters wide, what follows under the value."""
    return textwrap.fill(line, 100, subsequent_indent=" " * 21, drop_whitespace=True)
