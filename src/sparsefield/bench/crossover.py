"""One layer at every density: where the zeros begin to pay, and where they do not."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from sparsefield.nn import CReLU

from .clock import interleaved
from .contenders import Contender, prepare
from .result import Cell
from .rivals import Rival
from .scores import cells
from .seen import Layer, Seen

DENSITIES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
LINEAR_BATCHES = (1, 8, 32, 128)
CONV_BATCHES = (1, 4, 16)
_TAU = _M = 1.0
_INPUTS = 4  # different batches for each cell


def commonest(products: Sequence[Seen]) -> Seen | None:
    """The first product of the shape that most of those that read an activation have."""
    sparse = [product for product in products if product.activation is not None]
    if not sparse:
        return None
    ((shape, _),) = Counter(product.shape for product in sparse).most_common(1)
    return next(product for product in sparse if product.shape == shape)


def crossed(
    layer: Layer,
    shape: Sequence[int],
    rivals: Sequence[Rival],
    *,
    densities: Sequence[float],
    batches: Sequence[int],
    seconds: float,
) -> Iterator[Cell]:
    """Time one layer, after a CReLU, over density x batch.

    Dense contenders are made once a batch size; those that use zeros are made for each density,
    since they may choose how to run by what they see.

    Parameters
    ----------
    layer
        Linear or Conv2d; a copy is timed.
    shape
        of one sample that it reads.
    rivals
        at least eager.
    densities
        shares of non-zeros in [0, 1], rounded to a whole number of values.
    batches
        samples a call.
    seconds
        for each contender in each cell.
    """
    model = nn.Sequential(CReLU(_TAU, _M), copy.deepcopy(layer)).eval()
    for batch in batches:
        middle = exact_inputs((batch, *shape), 0.5, _INPUTS)
        dense = prepare([rival for rival in rivals if rival.dense], model, middle)
        for density in sorted({density_of(density, shape) for density in densities}):
            inputs = exact_inputs((batch, *shape), density, _INPUTS)
            sparse = prepare([rival for rival in rivals if not rival.dense], model, inputs)
            yield from _cell(dense + sparse, inputs, density, seconds)


def exact_inputs(shape: Sequence[int], density: float, count: int) -> list[Tensor]:
    """``count`` batches that the CReLU maps to exactly this share of non-zeros in each sample.

    Which values are non-zero differs from sample to sample; the others lie in (tau - 1, tau).
    """
    generator = Generator().manual_seed(0)
    size = torch.Size(shape[1:]).numel()
    active = round(density * size)
    found = []
    for _ in range(count):
        below = torch.rand(shape[0], size, generator=generator) * 0.9
        places = torch.rand(shape[0], size, generator=generator).argsort(dim=1)[:, :active]
        above = _TAU + 0.1 + torch.rand(shape[0], active, generator=generator)
        found.append(below.scatter_(1, places, above).reshape(*shape))
    return found


def density_of(density: float, shape: Sequence[int]) -> float:
    """The density that a whole number of non-zeros among so many values has."""
    size = torch.Size(shape).numel()
    return round(density * size) / size


def _cell(
    contenders: Sequence[Contender], inputs: Sequence[Tensor], density: float, seconds: float
) -> list[Cell]:
    calls = {c.rival.name: c.call for c in contenders if c.call is not None}
    times = interleaved(calls, inputs, seconds=seconds)
    return cells(contenders, times, density=density, batch=len(inputs[0]))
