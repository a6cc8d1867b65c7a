"""count(): run the data through a model once, with hooks that count and are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sparsefield.energy.counted import Counted
from sparsefield.energy.products import CONNECTIONS
from sparsefield.energy.watch import Watch
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, Activation, evaluating

# NeuroBench's own two, and this library's, which it is told of by add_activation_module().
ACTIVATIONS: tuple[type[nn.Module], ...] = (Activation, nn.ReLU, nn.Sigmoid)


def count(
    model: nn.Module,
    data: Tensor,
    *,
    batch: int = 1,
    activations: Iterable[type[nn.Module]] = (),
) -> Counted:
    """Count zeros, products and touched weights of a model on data.

    The model runs once over the data, without gradients and in ``eval`` mode; its mode and its
    hooks are then as they were. Every count is exact and in whole numbers. Activation sparsity,
    effective MACs, effective ACs and dense MACs are NeuroBench's (Yik et al., Nature
    Communications 2025): the share of zeros over the outputs of all activation modules, and the
    products whose input and weight are both non-zero, without biases.

    Parameters
    ----------
    model
        any module of Linear and Conv1d / 2d / 3d layers; others are named in ``uncounted``.
    data
        inputs [samples, ...], on the model's device.
    batch
        samples at once. It changes which weights are touched, and no other count.
    activations
        further types of modules whose outputs are activations, beside those of ``sparsefield.nn``,
        ReLU and Sigmoid.

    Raises
    ------
    InvalidInput
        no samples, a batch out of range, or a model without a layer to count.

    >>> from sparsefield import DNN, solve
    >>> model = DNN(64, 100, 3, 10, solve("crelu", sparsity=0.9, q=1.0, clip=1.0))
    >>> counted = count(model, torch.randn(20, 64), batch=5)
    >>> counted.dense_macs, counted.effective_macs < 0.5 * counted.dense_macs
    (27400.0, True)
    """
    _check(data, batch)
    watch = Watch(model, (*ACTIVATIONS, *activations), _carrying(model))
    with torch.no_grad(), evaluating(model), watch.attached():
        for part in data.split(batch):
            watch.begin()
            model(part)
    layers = tuple(tally.result(len(data)) for tally in watch.layers())
    if not layers:
        raise InvalidInput(
            f"{type(model).__name__}: called no Linear or convolution module, so there is nothing "
            "to count; use modules of torch.nn rather than functions"
        )
    return Counted(
        samples=len(data),
        batch=batch,
        layers=layers,
        activations=tuple(tally.result() for tally in watch.activations()),
        uncounted=_uncounted(model),
    )


def _check(data: Tensor, batch: int) -> None:
    if data.dim() < 2 or len(data) == 0:
        raise InvalidInput(
            f"data of shape {list(data.shape)}: must be samples x values; give at least one sample"
        )
    if not 1 <= batch <= len(data):
        raise InvalidInput(
            f"batch {batch}: must lie between 1 and the {len(data)} samples given; "
            "give more samples or a smaller batch"
        )


def _carrying(model: nn.Module) -> set[nn.Module]:
    """Layers whose output joins a dense stream: those of this library's networks with a skip."""
    if not isinstance(model, DNN | CNN) or not model.skip:
        return set()
    return set(list(model.layers)[1:])


def _uncounted(model: nn.Module) -> tuple[str, ...]:
    return tuple(
        f"{name or 'the model itself'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if not isinstance(module, CONNECTIONS) and any(True for _ in module.parameters(False))
    )
