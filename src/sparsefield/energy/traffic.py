"""Bytes that an inference touches, dense and sparse, from the counts.

Both executions are idealised in the same way: docs/energy.md has the table of what each reads and
how often. A skip's dense stream is written and read once a layer in both. Left out of both: reads
repeated for each block of outputs or tap of the kernel, pooling, normalisation, and the network's
output.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsefield.energy.counted import LayerCount
from sparsefield.errors import InvalidInput

# Samples (pixels) that share one load of a weight in a dense kernel's registers: the 6 x 16 block
# of BLIS for AVX2 (Van Zee & van de Geijn, ACM TOMS 2015). The sparse kernel has no such sharing:
# each sample has its own rows.
TILE = 6
# float32 values; 32-bit indices and list lengths, as PyTorch's embedding_bag reads them.
VALUE_BYTES = INDEX_BYTES = 4


@dataclass(frozen=True)
class WeightFormat:
    """How weights are stored. Activations and biases are float32 in all of them.

    Attributes
    ----------
    name
        float32, bfloat16 or int8.
    weight_bytes
        bytes of a weight.
    scale_bytes
        bytes of the scale of each output.
    """

    name: str
    weight_bytes: int
    scale_bytes: int


_FORMATS = {
    name: WeightFormat(name, *sizes)
    for name, sizes in {"float32": (4, 0), "bfloat16": (2, 0), "int8": (1, 4)}.items()
}


def weight_format(name: str) -> WeightFormat:
    """The format by name.

    Raises
    ------
    InvalidInput
        an unknown name.
    """
    if name not in _FORMATS:
        raise InvalidInput(f"storage {name!r}: unknown format; choose one of {', '.join(_FORMATS)}")
    return _FORMATS[name]


@dataclass(frozen=True)
class Traffic:
    """Bytes touched by one inference, a batch's shared reads divided by its samples.

    Attributes
    ----------
    weight_memory_bytes
        weights, biases and scales that come from where the network lives.
    weight_cache_bytes
        weights loaded into registers.
    activation_bytes
        values between layers, written and read.
    index_bytes
        indices and lengths of lists, written and read.
    """

    weight_memory_bytes: float
    weight_cache_bytes: float
    activation_bytes: float
    index_bytes: float


def dense_traffic(layer: LayerCount, stored: WeightFormat) -> Traffic:
    """Bytes of an inference that skips nothing."""
    weights = layer.weights * stored.weight_bytes
    return Traffic(
        weight_memory_bytes=layer.calls * (weights + _constants(layer, stored)) / layer.samples,
        weight_cache_bytes=layer.register_tiles * weights / layer.samples,
        activation_bytes=2 * VALUE_BYTES * (layer.inputs + layer.carried) / layer.samples,
        index_bytes=0.0,
    )


def sparse_traffic(layer: LayerCount, stored: WeightFormat) -> Traffic:
    """Bytes of an inference that reads only the rows of active inputs."""
    touched = layer.rows_touched * layer.row_width * stored.weight_bytes
    constants = layer.calls * _constants(layer, stored)
    return Traffic(
        weight_memory_bytes=(touched + constants) / layer.samples,
        weight_cache_bytes=layer.active_products * stored.weight_bytes / layer.samples,
        activation_bytes=2 * VALUE_BYTES * (layer.active_inputs + layer.carried) / layer.samples,
        index_bytes=2 * INDEX_BYTES * (layer.active_inputs + layer.lists) / layer.samples,
    )


def _constants(layer: LayerCount, stored: WeightFormat) -> int:
    """Bytes of biases and scales."""
    return VALUE_BYTES * layer.biases + stored.scale_bytes * layer.weight_shape[0]
