"""A training engine taken layer by layer, so that its activations are seen to go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from sparsefield.watch import activation_modules, begins

from .links import Dense
from .phi import Phi
from .training import Segment, TrainingEngine


class Watched:
    """What the engine computes, with a call of the model's activations for whoever watches them.

    Products and their gradients run on lists as before, a layer at a time; what the activations put
    out beside them costs a pass over h, and no product. Gradients of the weights are written.

    Parameters
    ----------
    engine
        to be taken apart.
    model
        that it was made of, whose activations are in the order in which they run.
    """

    def __init__(self, engine: TrainingEngine, model: nn.Module) -> None:
        self._model = model
        activations = iter(activation_modules(model).values())
        self._steps = tuple(_layer_by_layer(engine.steps, activations))

    def __call__(self, x: Tensor) -> Tensor:
        begins(self._model)
        for step in self._steps:
            x = step(x)
        return x


def _layer_by_layer(
    steps: Iterable[Callable[[Tensor], Tensor]], activations: Iterator[nn.Module]
) -> Iterator[Callable[[Tensor], Tensor]]:
    for step in steps:
        if isinstance(step, Segment):
            for link in step.links:
                yield _Beside(next(activations), Segment([link], step.instruction_set))
        elif isinstance(step, Dense):
            yield _Before(next(activations), step)
        else:
            yield next(activations) if isinstance(step, Phi) else step


class _Beside:
    """A layer on lists, and the activation that it reads for those who watch."""

    def __init__(self, activation: nn.Module, layer: Segment) -> None:
        self._activation, self._layer = activation, layer

    def __call__(self, h: Tensor) -> Tensor:
        self._activation(h)
        return self._layer(h)


class _Before:
    """A dense layer, and the activation that it reads."""

    def __init__(self, activation: nn.Module, layer: Dense) -> None:
        self._activation, self._layer = activation, layer

    def __call__(self, h: Tensor) -> Tensor:
        y: Any = self._activation(h)
        return self._layer.from_activation(h, y)
