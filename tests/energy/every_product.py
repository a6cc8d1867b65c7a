"""Every product of a tiny layer by itself, in loops: slow, and too plain to be wrong."""

from __future__ import annotations

from itertools import product

from torch import Tensor, nn


def layer_products(layer: nn.Module, x: Tensor) -> list[tuple[float, float, tuple[int, ...]]]:
    """Input value, weight value and row of every product of ``layer(x)``, x [batch, ...]."""
    weight = layer.weight.detach().numpy()
    if isinstance(layer, nn.Linear):
        return [
            (sample[k], weight[o, k], (k,))
            for sample in x.reshape(-1, layer.in_features).numpy()
            for o in range(layer.out_features)
            for k in range(layer.in_features)
        ]
    return [found for image in x.numpy() for found in _convolution(layer, weight, image)]


def _convolution(layer, weight, image):
    size, axes = image.shape[1:], range(image.ndim - 1)
    before, after = zip(*(_sides(layer, axis) for axis in axes), strict=True)
    outputs = [
        (size[a] + before[a] + after[a] - layer.dilation[a] * (layer.kernel_size[a] - 1) - 1)
        // layer.stride[a]
        + 1
        for a in axes
    ]
    per_group = layer.in_channels // layer.groups
    for o, place in product(range(layer.out_channels), product(*map(range, outputs))):
        group = o // (layer.out_channels // layer.groups)
        for c, tap in product(range(per_group), product(*map(range, layer.kernel_size))):
            at = [place[a] * layer.stride[a] + tap[a] * layer.dilation[a] - before[a] for a in axes]
            where = [_inside(layer.padding_mode, at[a], size[a]) for a in axes]
            if None not in where:
                channel = group * per_group + c
                yield image[(channel, *where)], weight[(o, c, *tap)], (channel, *tap)


def _sides(layer, axis):
    if layer.padding == "valid":
        return 0, 0
    if layer.padding == "same":
        total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        return total // 2, total - total // 2
    return layer.padding[axis], layer.padding[axis]


def _inside(mode, at, size):
    """Where a padded position reads from; None where the padding is a zero that is no input."""
    if 0 <= at < size:
        return at
    if mode == "zeros":
        return None
    if mode == "circular":
        return at % size
    if mode == "replicate":
        return min(max(at, 0), size - 1)
    return -at if at < 0 else 2 * (size - 1) - at  # reflect
