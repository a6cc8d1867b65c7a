"""Monitor: measures every activation of a model on chosen steps and leaves no hook behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsefield.errors import InvalidInput
from sparsefield.monitor.expectation import Expectation
from sparsefield.monitor.layers import activation_modules
from sparsefield.monitor.measure import gradient_rms, mean_square, outward

Row = dict[str, Any]


class Monitor:
    """Per-layer measurements of one forward and backward pass, every so many steps.

    Parameters
    ----------
    model
        Any module that holds :class:`sparsefield.nn.Activation` or
        :class:`torch.nn.ReLU` modules.
    every
        Steps between measurements; 0 measures never.
    expectation
        Theory's values at initialisation, set beside the measured ones (NaN without).
    grad_scale
        Factor on the gradients: 1 over the number of processes where each of them
        averages the loss over its own share of the batch.

    ``rows`` holds one dict a layer and measured step: ``step``; ``layer`` (from 0, in order of
    execution); ``q`` (mean square of the pre-activation over batch and units); ``sparsity`` (share
    of exact zeros of the output); ``saturated`` (share of outputs at the clip); ``dead`` (share of
    units, or channels, that are zero for the whole batch); ``grad_rms`` (root mean square of the
    loss gradient with respect to the pre-activation, NaN without a backward pass); ``q_theory``
    and ``sparsity_theory``.

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
        self.modules = activation_modules(model)
        self.every = every
        self.expectation = expectation or Expectation((), ())
        self.grad_scale = grad_scale
        self.rows: list[Row] = []

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Measure the one forward and backward pass inside the block, if ``step`` is a chosen one.

        ``step`` counts the optimiser steps already made, so step 0 sees the initial weights. An
        exception inside the block removes the hooks as well and records nothing.
        """
        if not self.every or step % self.every:
            yield
            return
        probe = Probe()
        try:
            probe.attach(self.modules)
            yield
        finally:
            probe.detach()
        self.rows += [self._row(step, layer, values) for layer, values in enumerate(probe.read())]

    def _row(self, step: int, layer: int, values: list[float]) -> Row:
        q, sparsity, saturated, dead, grad_rms = values
        return {
            "step": step,
            "layer": layer,
            "q": q,
            "sparsity": sparsity,
            "saturated": saturated,
            "dead": dead,
            "grad_rms": grad_rms * self.grad_scale,
            "q_theory": _nth(self.expectation.q, layer),
            "sparsity_theory": _nth(self.expectation.sparsity, layer),
        }


class Probe:
    """The hooks of one measured step and what they have seen."""

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._q: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._gradients: dict[int, Tensor] = {}

    def attach(self, modules: list[nn.Module]) -> None:
        """Hook every module: before its call for the pre-activation, after it for the output."""
        for module in modules:
            self._handles.append(module.register_forward_pre_hook(self._before))
            self._handles.append(module.register_forward_hook(self._after))

    def detach(self) -> None:
        """Remove every hook, those on tensors included."""
        while self._handles:
            self._handles.pop().remove()

    def read(self) -> list[list[float]]:
        """One list a layer: q, sparsity, saturated, dead, grad_rms; the device is asked once."""
        if not self._outputs:
            return []
        nan = torch.full_like(self._q[0], math.nan)
        gradients = [self._gradients.get(layer, nan) for layer in range(len(self._outputs))]
        forward = [torch.cat(pair) for pair in zip(self._q, self._outputs, strict=True)]
        table = torch.cat([torch.stack(forward), torch.stack(gradients)], dim=1)
        return [[float(value) for value in row] for row in table.tolist()]

    # An in-place activation overwrites its input, so the input is measured before the call.
    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        layer, h = len(self._q), args[0]
        self._q.append(mean_square(h))
        if h.requires_grad:
            self._handles.append(h.register_hook(lambda g: self._backward(layer, g)))

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._outputs.append(outward(module, output))

    def _backward(self, layer: int, gradient: Tensor) -> None:
        self._gradients[layer] = gradient_rms(gradient)


def _nth(values: tuple[float, ...], index: int) -> float:
    return values[index] if index < len(values) else math.nan
