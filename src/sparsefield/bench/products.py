"""Which products of a model read an activation, and how many zeros they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sparsefield.nn import Activation

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Seen:
    """One product by a weight, as it was seen in a forward pass.

    Attributes
    ----------
    name
        of the layer in the model.
    layer
        the module itself.
    activation
        the module whose output the layer reads as it is, None for any other input.
    source
        what the activation read, or without one what the layer read.
    zeros
        share of exact zeros in what the layer read.
    macs
        dense multiply-adds of the whole batch.
    """

    name: str
    layer: Layer
    activation: Activation | None
    source: Tensor
    zeros: float
    macs: float

    def alone(self) -> nn.Module:
        """The layer, after its activation where it has one, as a model of its own."""
        if self.activation is None:
            return nn.Sequential(self.layer)
        return nn.Sequential(self.activation, self.layer)

    @property
    def shape(self) -> str:
        """The weight's sizes and, for a convolution, its step and padding, in words."""
        kind = type(self.layer).__name__
        sizes = " x ".join(str(size) for size in self.layer.weight.shape[::-1])
        if isinstance(self.layer, nn.Linear):
            return f"{kind} {sizes}"
        return f"{kind} {sizes}, stride {self.layer.stride[0]}, {self.layer.padding_mode}"


@dataclass(frozen=True)
class Zeros:
    """Zeros of a whole network.

    Attributes
    ----------
    mean
        s, the mean over the activations of their shares of exact zeros.
    by_activation
        the share of each, by name.
    ceiling
        dense multiply-adds over those that meet a non-zero: what a perfect engine could gain
        in arithmetic, the dense first layer included; None where none does.
    """

    mean: float
    by_activation: dict[str, float]
    ceiling: float | None


@contextmanager
def watching(model: nn.Module, see: Callable[[Seen], None]) -> Iterator[None]:
    """Call ``see`` with every product of a forward pass inside the context, in order."""
    last: list[tuple[Activation, Tensor, Tensor]] = []  # held, so that no other tensor can be it

    def after_activation(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, Activation)
        last[:] = [(module, args[0], output)]

    def after_layer(name: str) -> Callable[..., None]:
        def hook(module: Layer, args: tuple[Tensor], output: Tensor) -> None:
            see(_product(name, module, args[0], output, last))

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, Activation):
            handles.append(module.register_forward_hook(after_activation))
        elif isinstance(module, Layer):
            handles.append(module.register_forward_hook(after_layer(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def products(model: nn.Module, x: Tensor) -> list[Seen]:
    """Every product of one forward pass on ``x``, without their inputs."""
    found: list[Seen] = []
    with watching(model, lambda product: found.append(_light(product))):
        model(x)
    return found


def sources(model: nn.Module, batches: Sequence[Tensor], name: str) -> list[Seen]:
    """The product of one layer on every batch, with its input."""
    found: list[Seen] = []

    def see(product: Seen) -> None:
        if product.name == name:
            found.append(product)

    with watching(model, see):
        for x in batches:
            model(x)
    return found


def measured_zeros(model: nn.Module, batches: Sequence[Tensor]) -> Zeros:
    """The zeros of every activation and product, over all batches."""
    shares: dict[str, list[float]] = {}
    seen: list[Seen] = []

    def after(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: tuple[Tensor], output: Tensor) -> None:
            shares.setdefault(name, []).append(zero_share(output))

        return hook

    modules = [(name, part) for name, part in model.named_modules() if isinstance(part, Activation)]
    handles = [part.register_forward_hook(after(name)) for name, part in modules]
    try:
        with watching(model, lambda product: seen.append(_light(product))):
            for x in batches:
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    means = {name: sum(values) / len(values) for name, values in shares.items()}
    mean = sum(means.values()) / len(means) if means else 0.0
    met = sum(product.macs * (1.0 - product.zeros) for product in seen)
    dense = sum(product.macs for product in seen)
    return Zeros(mean, means, dense / met if met else None)


def zero_share(values: Tensor) -> float:
    """Share of exact zeros; 0 of an empty tensor."""
    return 1.0 - int(torch.count_nonzero(values)) / max(values.numel(), 1)


def _product(
    name: str,
    layer: Layer,
    read: Tensor,
    output: Tensor,
    last: list[tuple[Activation, Tensor, Tensor]],
) -> Seen:
    follows = bool(last) and last[0][2] is read
    activation, source = (last[0][0], last[0][1]) if follows else (None, read)
    macs = output.numel() * layer.weight[0].numel()  # fan_in multiply-adds an output
    return Seen(name, layer, activation, source, zero_share(read), float(macs))


def _light(product: Seen) -> Seen:
    """Without the input, so that a deep network's are not all held at once."""
    return replace(product, source=product.source.new_empty(0))
