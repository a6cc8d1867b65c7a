"""Losses and gradients of several fully connected networks at once, written out by hand.

One batched product in place of a product for each member, and buffers that are filled again at
each step: no graph is recorded and no memory is asked for. The formulas are those of
:class:`sparsefield.nn.DNN` and of its backward pass, and the tests hold one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sparsefield.nn import DNN, Activation
from sparsefield.train.batched_activation import BatchedActivation
from sparsefield.train.rows import Layout


class BatchedDNN:
    """The forward and backward pass of ``members`` networks that differ in numbers only.

    Parameters
    ----------
    models
        Networks of one depth, width and family; all of them have a skip, or none has.
    layout
        Where their parameters lie in a row.
    rows, gradients
        Parameters and their gradients, [members, layout.size].
    batch
        Images of a step, for each member its own.

    Attributes
    ----------
    images, labels
        To be filled before each step: float32 [members, batch, inputs], int64 [members, batch].
    losses
        Mean cross-entropy of each member after a step, [members].
    """

    def __init__(
        self, models: Sequence[DNN], layout: Layout, rows: Tensor, gradients: Tensor, batch: int
    ) -> None:
        self._layout, self._rows, self._gradients = layout, rows, gradients
        depth, members = len(models[0].layers), len(models)
        width, inputs = layout.shapes["layers.0.weight"]
        classes = layout.shapes["head.bias"][0]
        self._names = [f"layers.{index}" for index in range(depth)]
        self._phi = BatchedActivation([_activation(model) for model in models], rows)
        self._has_skip = models[0].skip > 0.0
        self._kept = _column([math.sqrt(model.skip) for model in models], rows)
        self._new = _column([math.sqrt(1.0 - model.skip) for model in models], rows)
        self.images = rows.new_zeros(members, batch, inputs)
        self.labels = torch.zeros(members, batch, dtype=torch.int64, device=rows.device)
        self.losses = rows.new_zeros(members)
        self._outputs = [rows.new_empty(members, batch, width) for _ in range(depth)]
        self._h, self._update, self._spare = (torch.empty_like(self._outputs[0]) for _ in range(3))
        self._logits = rows.new_empty(members, batch, classes)
        self._minus_one = rows.new_full((members, batch, 1), -1.0)

    @torch.no_grad()
    def step(self) -> None:
        """Fill ``losses`` and every gradient from ``images`` and ``labels``."""
        self._forward()
        self._backward(self._loss())

    def _forward(self) -> None:
        self._affine(self._names[0], self.images, self._h)
        self._phi.forward(self._h, self._outputs[0])
        for index, name in enumerate(self._names[1:]):
            self._affine(name, self._outputs[index], self._update)
            self._carry()
            self._phi.forward(self._h, self._outputs[index + 1])
        self._affine("head", self._outputs[-1], self._logits)

    def _affine(self, name: str, x: Tensor, out: Tensor) -> None:
        bias = self._layout.view(self._rows, f"{name}.bias").unsqueeze(1)
        torch.baddbmm(bias, x, self._weight(name).mT, out=out)

    def _carry(self) -> None:
        """h becomes alpha h + sqrt(1 - alpha^2) update."""
        if not self._has_skip:
            self._h, self._update = self._update, self._h
            return
        self._h.mul_(self._kept)
        self._h.add_(self._update.mul_(self._new))

    def _loss(self) -> Tensor:
        """Fill ``losses``; the gradient with respect to the logits."""
        logarithms = self._logits.log_softmax(2)
        labels = self.labels.unsqueeze(2)
        torch.mean(logarithms.gather(2, labels), (1, 2), out=self.losses).neg_()
        return logarithms.exp_().scatter_add_(2, labels, self._minus_one).div_(labels.shape[1])

    def _backward(self, gradient: Tensor) -> None:
        self._collect("head", gradient, self._outputs[-1])
        torch.bmm(gradient, self._weight("head"), out=self._spare)
        self._phi.backward(self._spare, self._outputs[-1], self._h, self._update)
        for index in range(len(self._names) - 1, 0, -1):
            self._through(index)
        self._collect(self._names[0], self._h, self.images)

    def _through(self, index: int) -> None:
        """From the gradient of a layer's h, kept in ``_h``, to that of the layer before."""
        name, below = self._names[index], self._outputs[index - 1]
        inward = torch.mul(self._h, self._new, out=self._update) if self._has_skip else self._h
        self._collect(name, inward, below)
        torch.bmm(inward, self._weight(name), out=self._spare)
        if not self._has_skip:
            self._phi.backward(self._spare, below, self._h, self._update)
            return
        self._phi.backward(self._spare, below, self._spare, self._update)
        self._h.mul_(self._kept).add_(self._spare)

    def _collect(self, name: str, gradient: Tensor, x: Tensor) -> None:
        weight = self._layout.view(self._gradients, f"{name}.weight")
        torch.bmm(gradient.mT, x, out=weight)
        torch.sum(gradient, 1, out=self._layout.view(self._gradients, f"{name}.bias"))

    def _weight(self, name: str) -> Tensor:
        return self._layout.view(self._rows, f"{name}.weight")


def _activation(model: DNN) -> Activation:
    phi = model.activations[0]
    assert isinstance(phi, Activation)
    return phi


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return like.new_tensor(values).view(-1, 1, 1)
