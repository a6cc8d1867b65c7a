"""count(): run the data through a model once, watch it and add up."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from sparsefield.energy.counted import Counted
from sparsefield.energy.rows import CONNECTIONS
from sparsefield.energy.tally import ActivationTally, LayerTally
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, evaluating
from sparsefield.watch import Call, Watch, is_activation, modules_of


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
        any module of Linear and Conv1d / 2d / 3d layers; others are named in ``uncounted``, and so
        are layers and activations that the model did not call.
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
    carrying = _carrying(model)
    tallies: dict[str, LayerTally | ActivationTally] = {}

    def see(call: Call) -> None:
        # called twice a pass, a layer is one set of weights, and an activation stands at two places
        layer = isinstance(call.module, CONNECTIONS)
        name = call.place.name if layer else str(call.place)
        if name not in tallies:
            tallies[name] = LayerTally(call, carrying) if layer else ActivationTally(call)
        tallies[name].see(call)

    with torch.no_grad(), evaluating(model), Watch(model, watched).passes(see) as passes:
        for part in data.split(batch):
            model(part)
    layers = [tally for tally in tallies.values() if isinstance(tally, LayerTally)]
    phis = [tally for tally in tallies.values() if isinstance(tally, ActivationTally)]
    if not layers:
        raise InvalidInput(
            f"{type(model).__name__}: called no Linear or convolution module, so there is nothing "
            "to count; use modules of torch.nn rather than functions"
        )
    return Counted(
        samples=len(data),
        batch=batch,
        layers=tuple(tally.result(len(data)) for tally in layers),
        activations=tuple(tally.result() for tally in phis),
        uncounted=_uncounted(model, passes.missing),
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


def _uncounted(model: nn.Module, missing: Collection[str]) -> tuple[str, ...]:
    """Parameters of other kinds of modules, and what was expected and not called."""
    unknown = (
        f"{name or 'the model itself'} ({type(part).__name__})"
        for name, part in model.named_modules()
        if not isinstance(part, CONNECTIONS) and any(True for _ in part.parameters(False))
    )
    return (*unknown, *(f"{name} (not called)" for name in missing))
