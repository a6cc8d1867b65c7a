"""The modelled column: counts times the entries of a named table. A model, not a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sparsefield.energy.counted import Counted, LayerCount
from sparsefield.energy.tables import EnergyTable, MemoryLevel
from sparsefield.energy.traffic import Traffic, WeightFormat, dense_traffic, sparse_traffic
from sparsefield.errors import InvalidInput

# Outputs of a panel of weights; blocked kernels go through a batch panel by panel.
PANEL = 64


@dataclass(frozen=True)
class Parts:
    """Picojoules of one inference, by what they are spent on."""

    arithmetic: float = 0.0
    weights_memory: float = 0.0
    weights_cache: float = 0.0
    activations: float = 0.0
    indices: float = 0.0

    @property
    def total(self) -> float:
        """Their sum, in picojoules."""
        total: float = sum(asdict(self).values())
        return total

    def __add__(self, other: Parts) -> Parts:
        mine, others = asdict(self), asdict(other)
        return Parts(**{name: mine[name] + others[name] for name in mine})

    def to_dict(self) -> dict[str, float]:
        """With the unit in every key."""
        parts = {f"{name}_picojoules": value for name, value in asdict(self).items()}
        return {**parts, "total_picojoules": self.total}


@dataclass(frozen=True)
class LayerEnergy:
    """Modelled energy of one layer.

    Attributes
    ----------
    name
        as counted.
    dense, sparse
        picojoules of an inference, skipping nothing and reading active rows only.
    """

    name: str
    dense: Parts
    sparse: Parts

    @property
    def runs(self) -> Literal["dense", "sparse"]:
        """The cheaper of the two, which a dispatching engine would take."""
        return "sparse" if self.sparse.total < self.dense.total else "dense"

    @property
    def chosen(self) -> Parts:
        """That one's energy."""
        return self.sparse if self.runs == "sparse" else self.dense

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {"dense": self.dense.to_dict(), "sparse": self.sparse.to_dict()}
        return {"name": self.name, "runs": self.runs, **parts}


@dataclass(frozen=True)
class Modelled:
    """What a table makes of the counts.

    Attributes
    ----------
    table
        where the figures come from.
    arithmetic
        number format of products and sums.
    weights
        how weights are stored.
    weights_home
        the level that the network's weights are read from at each batch: the smallest that holds
        all of them.
    layers
        in order of execution.
    dense_range, sparse_range
        picojoules of an inference of the network at both ends of the range for main memory.
    """

    table: EnergyTable
    arithmetic: str
    weights: WeightFormat
    weights_home: MemoryLevel
    layers: tuple[LayerEnergy, ...]
    dense_range: tuple[float, float]
    sparse_range: tuple[float, float]

    @property
    def dense(self) -> Parts:
        """The network's energy per inference when nothing is skipped."""
        return whole(self.layers)[0]

    @property
    def sparse(self) -> Parts:
        """The network's energy per inference when each layer runs in the cheaper way."""
        return whole(self.layers)[1]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "table": self.table.to_dict(),
            "arithmetic": self.arithmetic,
            "weights": asdict(self.weights),
            "weights_home": self.weights_home.name,
            "dense": self.dense.to_dict(),
            "sparse": self.sparse.to_dict(),
            "dense_range_picojoules": list(self.dense_range),
            "sparse_range_picojoules": list(self.sparse_range),
            "layers": [layer.to_dict() for layer in self.layers],
        }


def model_energy(
    counted: Counted, table: EnergyTable, *, weights: WeightFormat, arithmetic: str
) -> Modelled:
    """Price the counts with a table.

    Weights come once a batch from the smallest level that holds all of the network's weights. From
    the smallest level that holds a panel of ``PANEL`` outputs they are loaded into registers; where
    the two are one level, the read from memory is the first of those loads. Values and indices
    between two layers lie in the smallest level that holds a batch of them.

    Parameters
    ----------
    counted
        from :func:`sparsefield.energy.count`.
    table
        from :func:`sparsefield.energy.energy_table`.
    weights
        how weights are stored.
    arithmetic
        number format of products and sums: float32, bfloat16 or int8.

    Raises
    ------
    InvalidInput
        a number format that the table does not have.
    """
    if arithmetic not in table.multiply_add:
        raise InvalidInput(
            f"arithmetic {arithmetic!r}: not in table {table.name}; "
            f"choose one of {', '.join(table.multiply_add)}"
        )
    layers = _layers(counted, table, weights, arithmetic)
    low, high = (
        whole(_layers(counted, _at(table, end), weights, arithmetic))
        for end in ("low_picojoules", "high_picojoules")
    )
    return Modelled(
        table=table,
        arithmetic=arithmetic,
        weights=weights,
        weights_home=_home(counted, table, weights),
        layers=layers,
        dense_range=(low[0].total, high[0].total),
        sparse_range=(low[1].total, high[1].total),
    )


def _layers(
    counted: Counted, table: EnergyTable, weights: WeightFormat, arithmetic: str
) -> tuple[LayerEnergy, ...]:
    home = _home(counted, table, weights)
    mac = table.multiply_add[arithmetic].picojoules

    def priced(layer: LayerCount, products: int, traffic: Traffic) -> Parts:
        panel = table.level_for(layer.rows * min(layer.row_width, PANEL) * weights.weight_bytes)
        loaded = traffic.weight_cache_bytes
        if panel == home:
            loaded = max(0.0, loaded - traffic.weight_memory_bytes)
        between = traffic.activation_bytes + traffic.index_bytes
        # half of it is the writing of what is then read
        buffer = table.level_for(between / 2 * layer.samples / layer.calls)
        return Parts(
            arithmetic=mac * products / layer.samples,
            weights_memory=home.picojoules_per_byte * traffic.weight_memory_bytes,
            weights_cache=panel.picojoules_per_byte * loaded,
            activations=buffer.picojoules_per_byte * traffic.activation_bytes,
            indices=buffer.picojoules_per_byte * traffic.index_bytes,
        )

    return tuple(
        LayerEnergy(
            layer.name,
            dense=priced(layer, layer.dense_macs, dense_traffic(layer, weights)),
            sparse=priced(layer, layer.active_products, sparse_traffic(layer, weights)),
        )
        for layer in counted.layers
    )


def _home(counted: Counted, table: EnergyTable, weights: WeightFormat) -> MemoryLevel:
    return table.level_for(sum(layer.weights for layer in counted.layers) * weights.weight_bytes)


def _at(table: EnergyTable, end: str) -> EnergyTable:
    """The table with every range of energy at one of its ends."""
    energies = [getattr(level, end) for level in table.levels]
    pairs = zip(table.levels, energies, strict=True)
    levels = (replace(level, low_picojoules=x, high_picojoules=x) for level, x in pairs)
    return replace(table, levels=tuple(levels))


def whole(layers: Sequence[LayerEnergy]) -> tuple[Parts, Parts]:
    """The network's parts when nothing is skipped, and when each layer runs in the cheaper way."""
    return sum((x.dense for x in layers), Parts()), sum((x.chosen for x in layers), Parts())
