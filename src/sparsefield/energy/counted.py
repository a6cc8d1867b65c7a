"""The counted column: what was zero, exactly, in whole numbers summed over the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerCount:
    """One fully connected layer or convolution, or a product that does the same by hand.

    Counts are totals over all samples.

    Attributes
    ----------
    name, kind
        path in the model, and type.
    weight_shape
        as PyTorch has it, [outputs, inputs (of a group), kernel ...].
    samples, calls
        samples seen, and times the layer was called (once a batch, as a rule).
    dense_macs
        products of the layer when nothing is skipped; zeros added by padding are no products.
    effective_macs
        products whose input and weight are both non-zero, in calls with ordinary inputs.
    effective_acs
        the same in calls whose inputs are all -1, 0 or 1, where a sum does (NeuroBench's AC).
    active_products
        products whose input is non-zero, whatever the weight: what a kernel does that skips inputs.
    inputs, active_inputs, outputs
        values read, those of them that are non-zero, and values computed.
    lists
        lists of active inputs: one a sample for a Linear, one a pixel for a convolution.
    weights, biases
        parameters.
    rows, row_width
        rows of the weights (inputs times taps) and weights in each.
    rows_touched
        rows that at least one sample of the batch needs, summed over calls.
    register_tiles
        tiles of :data:`sparsefield.energy.traffic.TILE` output positions, summed over calls.
    carried
        outputs that go onto a dense skip stream.
    """

    name: str
    kind: str
    weight_shape: tuple[int, ...]
    samples: int
    calls: int
    dense_macs: int
    effective_macs: int
    effective_acs: int
    active_products: int
    inputs: int
    active_inputs: int
    outputs: int
    lists: int
    weights: int
    biases: int
    rows: int
    row_width: int
    rows_touched: int
    register_tiles: int
    carried: int

    @property
    def input_density(self) -> float:
        """Share of inputs that are not zero."""
        return self.active_inputs / self.inputs


@dataclass(frozen=True)
class ActivationCount:
    """One activation module. Counts are totals over all samples.

    Attributes
    ----------
    name, kind
        path in the model, and type.
    values, zeros
        outputs, and those that are exactly zero.
    saturated
        outputs at the clip; None for an activation without one.
    units
        units, or channels of an image.
    dead_units
        indices of those that were zero for every sample. Their zeros are in ``zeros``, as
        NeuroBench counts them, though they could be cut off the network for good.
    """

    name: str
    kind: str
    values: int
    zeros: int
    saturated: int | None
    units: int
    dead_units: tuple[int, ...]

    @property
    def sparsity(self) -> float:
        """Share of exact zeros, dead units included."""
        return self.zeros / self.values

    @property
    def sparsity_alive(self) -> float | None:
        """Share of exact zeros among the units that are not dead; None if all are."""
        alive = self.alive_values
        return (alive - (self.values - self.zeros)) / alive if alive else None

    @property
    def alive_values(self) -> int:
        """Outputs of the units that are not dead."""
        return self.values // self.units * (self.units - len(self.dead_units))


@dataclass(frozen=True)
class Counted:
    """What one pass over the data counted.

    Attributes
    ----------
    samples, batch
        samples seen, and how many went through at once.
    layers, activations
        in order of execution.
    uncounted
        whose work is in no column: modules with parameters of their own that no counted product
        reads, products of activations with their number of MACs an inference, and layers and
        activations that the model did not call.
    """

    samples: int
    batch: int
    layers: tuple[LayerCount, ...]
    activations: tuple[ActivationCount, ...]
    uncounted: tuple[str, ...]

    @property
    def activation_sparsity(self) -> float | None:
        """Zeros over values of all activations together [NeuroBench]; None without activations."""
        values = sum(each.values for each in self.activations)
        return sum(each.zeros for each in self.activations) / values if values else None

    @property
    def dense_macs(self) -> float:
        """Products of an inference when nothing is skipped [NeuroBench: Dense]."""
        return sum(layer.dense_macs for layer in self.layers) / self.samples

    @property
    def effective_macs(self) -> float:
        """Multiply-accumulates of an inference [NeuroBench: Effective_MACs]."""
        return sum(layer.effective_macs for layer in self.layers) / self.samples

    @property
    def effective_acs(self) -> float:
        """Accumulates of an inference [NeuroBench: Effective_ACs]."""
        return sum(layer.effective_acs for layer in self.layers) / self.samples

    @property
    def dead_units(self) -> int:
        """Units that were zero for every sample, over all activations."""
        return sum(len(each.dead_units) for each in self.activations)

    @property
    def units(self) -> int:
        """Units of all activations."""
        return sum(each.units for each in self.activations)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the network's MACs are those of one inference, a layer's are totals."""
        whole = ("activation_sparsity", "dense_macs", "effective_macs", "effective_acs")
        return {
            "samples": self.samples,
            "batch": self.batch,
            **{name: getattr(self, name) for name in (*whole, "dead_units", "units")},
            "layers": [
                {**asdict(layer), "input_density": layer.input_density} for layer in self.layers
            ],
            "activations": [
                {**asdict(a), "sparsity": a.sparsity, "sparsity_alive": a.sparsity_alive}
                for a in self.activations
            ],
            "uncounted": list(self.uncounted),
        }
