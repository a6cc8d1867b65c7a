"""Penalties on the activations, which make a dense network's values zero as it trains.

A rival of zeros by design: the share of zeros is what the weight of the penalty and the training
make of it. Nothing is changed at test time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparsefield.train.config import TrainConfig
from sparsefield.watch import Call, Watch, activation_modules


def l1(y: Tensor) -> Tensor:
    """Mean of abs(y) over samples and units [batch, ...]: in the units of the activation.

    >>> float(l1(torch.tensor([[3.0, -1.0], [0.0, 4.0]])))
    2.0
    """
    return _sizes(y).mean()


def hoyer(y: Tensor) -> Tensor:
    """Hoyer-square (sum abs(y))^2 / sum y^2 over the n values of a sample, over n; mean of samples.

    From 1 / n (one value is left) to 1 (all of one size), whatever the scale: about the share of
    values that count. 0 for a sample without any [Yang, Wen and Li 2020, DeepHoyer; on activations
    Kurtz et al. 2020].

    >>> float(hoyer(torch.tensor([[1.0, -1.0, 0.0, 0.0], [7.0, 7.0, 7.0, 7.0]])))
    0.75
    """
    size = _sizes(y).flatten(1)
    tiny = torch.finfo(size.dtype).tiny
    # in units of the largest, squares neither overflow nor vanish; the measure knows no units
    size = size / size.detach().amax(1, keepdim=True).clamp_min(tiny)
    squares = size.square().sum(1).clamp_min(tiny)
    return (size.sum(1).square() / squares).mean() / size.shape[1]


def _sizes(y: Tensor) -> Tensor:
    """abs(y), in float32 at least: a sum in bfloat16 stands still before its end."""
    return y.to(torch.promote_types(y.dtype, torch.float32)).abs()


_PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {"l1": l1, "hoyer": hoyer}


class Penalty:
    """The config's penalty on a network's activations: weight times its mean over the layers.

    With ``penalty="none"`` nothing is watched and nothing is added.

    >>> penalty = Penalty(config, model)                                  # doctest: +SKIP
    >>> with penalty.watching():                                          # doctest: +SKIP
    ...     loss = cross_entropy(model(images), labels)
    >>> penalty.added_to(loss).backward()                                 # doctest: +SKIP
    """

    def __init__(self, config: TrainConfig, model: nn.Module) -> None:
        self._of = _PENALTIES.get(config.penalty)
        self._weight = config.penalty_weight or 0.0
        self._watch = Watch(model, activation_modules(model)) if self._of else None
        self._layers: list[Tensor] = []

    @property
    def watches(self) -> bool:
        """Whether the activations of every step must be seen."""
        return self._watch is not None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Collect the layers of the one forward pass inside."""
        self._layers = []
        if self._watch is None:
            yield
            return
        with self._watch.passes(self._see) as passes:
            yield
        passes.warn()

    def added_to(self, loss: Tensor) -> Tensor:
        """The loss of the pass just watched with the penalty."""
        layers, self._layers = self._layers, []
        return loss + self._weight * torch.stack(layers).mean() if layers else loss

    def _see(self, call: Call) -> None:
        assert self._of is not None
        self._layers.append(self._of(call.output))
