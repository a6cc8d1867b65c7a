"""The training column: a step's products and bytes, dense and on lists, and their price.

A step is forward, input gradient, weight gradient and update. Docs/energy.md has the table of what
each reads and how often. On lists the counts are upper bounds: a clipped unit needs no input
gradient and counts as one that does, and outputs without a gradient count as others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsefield.energy.counted import Counted, LayerCount
from sparsefield.energy.tables import EnergyTable
from sparsefield.energy.traffic import INDEX_BYTES, VALUE_BYTES
from sparsefield.errors import InvalidInput

# Values kept for each weight beside it.
MOMENTS: Mapping[str, int] = {"sgd": 0, "momentum": 1, "adam": 2}


@dataclass(frozen=True)
class Step:
    """A training step, per sample of its batch.

    Attributes
    ----------
    forward, input_gradient, weight_gradient
        multiply-adds.
    update
        weights and moments that are made anew.
    weight_bytes
        weights, gradients and moments, read and written.
    activation_bytes
        values that layers read and their gradients, written and read, with their indices.
    picojoules
        of all that, by the table: arithmetic, and bytes from the smallest level that holds them.
    """

    forward: float
    input_gradient: float
    weight_gradient: float
    update: float
    weight_bytes: float
    activation_bytes: float
    picojoules: float = 0.0

    @property
    def operations(self) -> float:
        """Multiply-adds, an update as one."""
        return self.forward + self.input_gradient + self.weight_gradient + self.update


@dataclass(frozen=True)
class TrainingColumn:
    """A step by an optimiser, dense by PyTorch and on lists with the fused update."""

    optimizer: str
    dense: Step
    lists: Step

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def training_column(counted: Counted, table: EnergyTable, *, optimizer: str) -> TrainingColumn:
    """Count a step at the counts' batch, float32.

    Parameters
    ----------
    counted
        from :func:`sparsefield.energy.count`, at the batch that trains.
    table
        from :func:`sparsefield.energy.energy_table`.
    optimizer
        sgd (without momentum), momentum or adam.

    Raises
    ------
    InvalidInput
        an unknown optimiser.
    """
    if optimizer not in MOMENTS:
        raise InvalidInput(f"optimizer {optimizer!r}: choose one of {', '.join(MOMENTS)}")
    kept = MOMENTS[optimizer]
    layers = list(enumerate(counted.layers))
    dense = _priced([_dense(x, kept, first=i == 0) for i, x in layers], counted, table, kept)
    lists = _priced([_on_lists(x, kept, first=i == 0) for i, x in layers], counted, table, kept)
    return TrainingColumn(optimizer, dense, lists)


def _dense(layer: LayerCount, kept: int, *, first: bool) -> Step:
    products = layer.dense_macs / layer.samples
    backward = 0.0 if first else products  # nobody asks for the gradient of the data
    weights = layer.calls * layer.weights / layer.samples
    # read forward and backward; the gradient written and read; weight and moments read and written
    passes = 2 - first + 2 + 2 * (1 + kept)
    return Step(
        forward=products,
        input_gradient=backward,
        weight_gradient=products,
        update=weights * (1 + kept),
        weight_bytes=VALUE_BYTES * weights * passes,
        activation_bytes=2 * VALUE_BYTES * (2 - first) * layer.inputs / layer.samples,
    )


def _on_lists(layer: LayerCount, kept: int, *, first: bool) -> Step:
    if first:  # it reads the data, and runs dense
        return _dense(layer, kept, first=True)
    products = layer.active_products / layer.samples
    touched = layer.rows_touched * layer.row_width / layer.samples
    updated = layer.calls * layer.weights / layer.samples if kept else touched  # moments move all
    entries = 2 * (VALUE_BYTES + INDEX_BYTES) + 2 * VALUE_BYTES  # of a list, and their gradients
    lengths = 2 * INDEX_BYTES * layer.lists
    return Step(
        forward=products,
        input_gradient=products,
        weight_gradient=products,
        update=updated * (1 + kept),
        weight_bytes=VALUE_BYTES * (2 * touched + 2 * (1 + kept) * updated),
        activation_bytes=(entries * layer.active_inputs + lengths) / layer.samples,
    )


def _priced(steps: list[Step], counted: Counted, table: EnergyTable, kept: int) -> Step:
    """All layers together, with what the table asks for them."""
    sums = {
        name: sum(getattr(step, name) for step in steps)
        for name in Step.__dataclass_fields__
        if name != "picojoules"
    }
    whole = Step(**sums)
    weights = sum(layer.weights for layer in counted.layers) * VALUE_BYTES * (1 + kept)
    home = table.level_for(weights).picojoules_per_byte
    between = table.level_for(whole.activation_bytes * counted.batch).picojoules_per_byte
    arithmetic = table.multiply_add["float32"].picojoules * whole.operations
    moved = home * whole.weight_bytes + between * whole.activation_bytes
    return Step(**sums, picojoules=arithmetic + moved)
