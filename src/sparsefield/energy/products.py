"""The products of a layer, counted exactly from which of its inputs and weights are zero.

A *row* is the weights of one input (of one channel at one tap of the kernel) to all outputs of its
group: what has to be read because that input is not zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield.engine.products import places

Connection = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def row_uses(layer: Connection, active: Tensor) -> Tensor:
    """How often a pass multiplies each row by an active input.

    Parameters
    ----------
    layer
        a fully connected layer or a convolution: any stride, dilation, groups and padding.
    active
        bool, the shape of the layer's input: where it is not zero.

    Returns
    -------
    Tensor
        int64, [inputs] or [channels, kernel ...]. Zeros that the padding adds are no inputs,
        values that it repeats (circular, reflect, replicate) are.

    >>> row_uses(nn.Linear(3, 5), torch.tensor([[True, False, True], [True, False, False]]))
    tensor([2, 0, 1])
    >>> row_uses(nn.Conv1d(1, 4, 3, padding=1), torch.ones(1, 1, 5, dtype=torch.bool))
    tensor([[4, 5, 4]])
    """
    if isinstance(layer, nn.Linear):
        return active.reshape(-1, layer.in_features).sum(0)
    return _convolution_uses(layer, active)


def row_nonzeros(layer: Connection) -> Tensor:
    """Non-zero weights in each row, int64, in the shape of :func:`row_uses`."""
    groups, inputs, kernel = _layout(layer)
    weight = layer.weight.detach().reshape(groups, -1, inputs // groups, *kernel)
    return weight.count_nonzero(1).reshape(inputs, *kernel)


def row_width(layer: Connection) -> int:
    """Weights in a row: the outputs of a group."""
    groups, _, _ = _layout(layer)
    return layer.weight.shape[0] // groups


def only_signs(x: Tensor) -> bool:
    """Whether every value is -1, 0 or 1: NeuroBench then counts accumulates in place of MACs."""
    return not bool(((x != 0) & (x != 1) & (x != -1)).any())


def _layout(layer: Connection) -> tuple[int, int, tuple[int, ...]]:
    if isinstance(layer, nn.Linear):
        return 1, layer.in_features, ()
    return layer.groups, layer.in_channels, tuple(layer.kernel_size)


def _convolution_uses(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, active: Tensor) -> Tensor:
    kernel: tuple[int, ...] = tuple(layer.kernel_size)
    # [channels, *image]: how many samples are active there; sums over samples commute with padding
    occupied = active.reshape(-1, layer.in_channels, *active.shape[-len(kernel) :]).sum(0)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(occupied.double()[None], _padding(layer), mode=mode)[0]
    taps = product(*(range(width) for width in kernel))
    seen = [padded[_window(layer, padded.shape[1:], tap)].flatten(1).sum(1) for tap in taps]
    return torch.stack(seen, dim=1).long().reshape(-1, *kernel)


def _window(layer: Any, size: Sequence[int], tap: Sequence[int]) -> tuple[slice, ...]:
    """What one tap of the kernel sees of all channels, over all output positions."""
    slices = [slice(None)]
    for length, at, width, step, spread in zip(
        size, tap, layer.kernel_size, layer.stride, layer.dilation, strict=True
    ):
        last = (places(length, width, step, spread) - 1) * step
        slices.append(slice(at * spread, at * spread + last + 1, step))
    return tuple(slices)


def _padding(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """Values added before and after each axis, the last axis first, as ``F.pad`` reads them."""
    sides: list[tuple[int, int]] = []
    for axis, (width, spread) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True)):
        if layer.padding == "same":
            total = spread * (width - 1)
            sides.append((total // 2, total - total // 2))
        elif layer.padding == "valid":
            sides.append((0, 0))
        else:
            sides.append((int(layer.padding[axis]), int(layer.padding[axis])))
    return [end for pair in reversed(sides) for end in pair]
