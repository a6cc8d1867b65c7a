"""The rows of a layer's weights: how often each is needed, exactly, from what is zero.

A *row* is the weights of one input (of one channel at one tap of the kernel) to all outputs of its
group: what has to be read because that input is not zero.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

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

    >>> import torch
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
    # values before and after each axis, the last axis first: what the layer itself gives to F.pad
    padding = layer._reversed_padding_repeated_twice
    windows = F.pad(occupied.double()[None], padding, mode=mode)[0]
    for axis, width in enumerate(kernel):  # [channels, *image] to [channels, *outputs, *kernel]
        spread = layer.dilation[axis]
        reach = spread * (width - 1) + 1
        windows = windows.unfold(axis + 1, reach, layer.stride[axis])[..., ::spread]
    return windows.sum([axis + 1 for axis in range(len(kernel))]).long()
