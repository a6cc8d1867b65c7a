"""What is added to the loss for the sake of zeros: at a fixed weight, or so that they are held.

A penalty of fixed weight, which makes a dense network's values zero as it trains, is a rival of
zeros by design: the share of zeros is what its weight and the training make of it. That of
:class:`sparsefield.nn.Hold` follows the zeros. Nothing is changed at test time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.nn import Hold
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

    With ``hold`` it is the penalty of :class:`sparsefield.nn.Hold`. With neither that nor a
    ``penalty`` nothing is watched and nothing is added.

    Parameters
    ----------
    config, model
        Of the run.
    runs
        What runs the model in a step, where that is not the model itself.
    reduce
        Mean of a tensor over the processes.

    >>> penalty = Penalty(config, model)                                  # doctest: +SKIP
    >>> with penalty.watching():                                          # doctest: +SKIP
    ...     loss = cross_entropy(model(images), labels)
    >>> penalty.added_to(loss).backward()                                 # doctest: +SKIP
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        *,
        runs: nn.Module | None = None,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._of = _PENALTIES.get(config.penalty)
        self._weight = config.penalty_weight or 0.0
        self._watch = Watch(model, activation_modules(model)) if self._of else None
        self._layers: list[Tensor] = []
        self.hold: Hold | None = None
        if config.hold is not None:
            self.hold = Hold(runs or model, config.hold, reduce=reduce)

    @property
    def watches(self) -> bool:
        """Whether the activations of every step must be called, for hooks to see them."""
        return self._watch is not None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Collect the layers of the one forward pass inside."""
        self._layers = []
        if self.hold is not None:
            with self.hold:
                yield
        elif self._watch is not None:
            with self._watch.passes(self._see) as passes:
                yield
            passes.warn()
        else:
            yield

    def added_to(self, loss: Tensor) -> Tensor:
        """The loss of the pass just watched with the penalty."""
        if self.hold is not None:
            return loss + self.hold.penalty()
        layers, self._layers = self._layers, []
        return loss + self._weight * torch.stack(layers).mean() if layers else loss

    def row(self) -> dict[str, float]:
        """For a row of metrics: what is held, NaN where nothing is."""
        if self.hold is None:
            return {"zeros_trained": math.nan, "hold_weight": math.nan}
        return {"zeros_trained": self.hold.zeros, "hold_weight": self.hold.control.weight}

    def state(self) -> dict[str, Any] | None:
        """What :meth:`restore` goes on from."""
        return None if self.hold is None else self.hold.state_dict()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a state; None where nothing is held."""
        if self.hold is not None and state is not None:
            self.hold.load_state_dict(state)

    def _see(self, call: Call) -> None:
        assert self._of is not None
        self._layers.append(self._of(call.output))
