"""count(): run the data through a model once, watch it and add up."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sparsefield.energy.counted import Counted
from sparsefield.energy.products import Products
from sparsefield.energy.rows import CONNECTIONS
from sparsefield.energy.tallies import Tallies
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, evaluating
from sparsefield.watch import Watch, is_activation, modules_of


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
        any module. Products by its weights are counted, be they made by Linear and Conv1d / 2d / 3d
        modules or by hand (``F.linear``, ``@``, ``einsum``); what else it does is named in
        ``uncounted``, products of activations (attention) with their number.
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
    # NeuroBench's own activations are ReLU and Sigmoid
    further: tuple[type[nn.Module], ...] = (*CONNECTIONS, nn.Sigmoid, *activations)
    watched = modules_of(model, lambda part: isinstance(part, further) or is_activation(part))
    tallies = Tallies(model, _carrying(model))
    with (
        torch.no_grad(),
        evaluating(model),
        Watch(model, watched).passes(tallies.see, functions=True) as passes,
        Products(lambda *product: tallies.product(passes.inside, *product)),
    ):
        for part in data.split(batch):
            model(part)
    layers, uncounted = tallies.layers(len(data)), tuple(tallies.uncounted(len(data), passes))
    if not layers:
        raise InvalidInput(
            f"{type(model).__name__}: multiplies by none of its weights as it is, so there is "
            f"nothing to count; in no column are: {', '.join(uncounted) or 'none'}"
        )
    return Counted(
        samples=len(data),
        batch=batch,
        layers=layers,
        activations=tallies.activations(),
        uncounted=uncounted,
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
