"""Monitor: measures every activation of a model on chosen steps and leaves no hook behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.monitor.expectation import Expectation
from sparsefield.monitor.measure import gradient_rms, mean_square, outward
from sparsefield.watch import Call, Place, Watch, activation_modules

Row = dict[str, Any]


class Monitor:
    """Per-layer measurements of one forward and backward pass, every so many steps.

    A step that is measured runs uncompiled, see :meth:`sparsefield.watch.Watch.passes`.

    Parameters
    ----------
    model
        Any module that holds activations, see :func:`sparsefield.watch.is_activation`.
    every
        Steps between measurements; 0 measures never.
    expectation
        Theory's values at initialisation, set beside the measured ones (NaN without).
    grad_scale
        Factor on the gradients: 1 over the number of processes where each of them
        averages the loss over its own share of the batch.

    ``rows`` holds one dict a layer and measured step: ``step``; ``layer`` (from 0, in order of
    execution); ``name`` (the path of the module in the model, ``relu#2`` at its second call in a
    pass); ``q`` (mean square of the pre-activation over batch and units); ``sparsity`` (share of
    exact zeros of the output); ``saturated`` (share of outputs at the clip); ``dead`` (share of
    units, or channels, that are zero for the whole batch); ``grad_rms`` (root mean square of the
    loss gradient with respect to the pre-activation, NaN without a backward pass; under
    ``torch.func.vmap`` each sample has a loss of its own); ``q_theory`` and ``sparsity_theory``.

    >>> monitor = Monitor(model, every=50)                                # doctest: +SKIP
    >>> with monitor.at(step):                                            # doctest: +SKIP
    ...     loss(model(x), y).backward()
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = 50,
        expectation: Expectation | None = None,
        grad_scale: float = 1.0,
    ) -> None:
        if every < 0:
            raise InvalidInput(f"every={every}: must be a number of steps, or 0 to measure never")
        self._watch = Watch(model, activation_modules(model))
        self.every = every
        self.expectation = expectation or Expectation((), ())
        self.grad_scale = grad_scale
        self.rows: list[Row] = []

    def due(self, step: int) -> bool:
        """Whether ``step`` is one to be measured."""
        return bool(self.every) and step % self.every == 0

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Measure the one forward and backward pass inside the block, if ``step`` is a chosen one.

        ``step`` counts the optimiser steps already made, so step 0 sees the initial weights. An
        exception inside the block removes the hooks as well and records nothing.
        """
        if not self.due(step):
            yield
            return
        seen = MeasuredStep()
        told = {"before": seen.before, "gradient": seen.gradient}
        with self._watch.passes(seen.after, **told, functions=not self.rows) as passes:
            yield
        passes.warn()
        found = enumerate(seen.values().items())
        self.rows += [self._row(step, layer, *named) for layer, named in found]

    def _row(self, step: int, layer: int, place: Place, values: list[float]) -> Row:
        q, sparsity, saturated, dead, grad_rms = values
        return {
            "step": step,
            "layer": layer,
            "name": str(place),
            "q": q,
            "sparsity": sparsity,
            "saturated": saturated,
            "dead": dead,
            "grad_rms": grad_rms * self.grad_scale,
            "q_theory": _nth(self.expectation.q, layer),
            "sparsity_theory": _nth(self.expectation.sparsity, layer),
        }


class MeasuredStep:
    """What one measured step has shown, by the place of each call."""

    def __init__(self) -> None:
        self._q: dict[Place, Tensor] = {}
        self._outputs: dict[Place, Tensor] = {}
        self._gradients: dict[Place, Tensor] = {}

    def before(self, place: Place, h: Tensor) -> None:
        """The pre-activation."""
        self._q[place] = mean_square(h)

    def after(self, call: Call) -> None:
        """The output."""
        self._outputs[call.place] = outward(call)

    def gradient(self, place: Place, gradient: Tensor) -> None:
        """The gradient with respect to the pre-activation."""
        self._gradients[place] = gradient_rms(gradient)

    def values(self) -> dict[Place, list[float]]:
        """A layer's q, sparsity, saturated, dead and grad_rms; a device is asked once."""
        if not self._outputs:
            return {}
        home = next(iter(self._q.values())).device  # the layers of a model may lie on several
        nan = torch.full((1,), math.nan)
        rows = [
            [self._q[place], output, self._gradients.get(place, nan)]
            for place, output in self._outputs.items()
        ]
        table = torch.stack([torch.cat([part.to(home) for part in row]) for row in rows])
        return dict(zip(self._outputs, table.tolist(), strict=True))


def _nth(values: tuple[float, ...], index: int) -> float:
    return values[index] if index < len(values) else math.nan
