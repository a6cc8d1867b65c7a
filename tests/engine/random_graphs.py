"""Random models: layers, activations, norms, sums and concatenations, wired anyhow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield.nn import CReLU, SoftThreshold

from .chains import randn
from .own_models import settled

WIDTH = 8
STEPS = ("linear", "shared", "phi", "relu", "relu in place", "norm", "drop", "add", "cat", "iadd")


class RandomGraph(nn.Module):
    """Values one after the other, each made of one or two before it; the last few are returned.

    Parameters
    ----------
    plan
        a kind of step, and which values before it reads.
    outputs
        how many of the last values are returned.
    """

    def __init__(self, plan: list[tuple[str, int, int]], outputs: int) -> None:
        super().__init__()
        self.plan, self.outputs = plan, outputs
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList(self._module(kind) for kind, _, _ in plan)

    def _module(self, kind: str) -> nn.Module:
        made: dict[str, Callable[[], nn.Module]] = {
            "linear": lambda: nn.Linear(WIDTH, WIDTH),
            "shared": lambda: self.shared,
            "phi": lambda: CReLU(0.3, 1.0) if len(self.plan) % 2 else SoftThreshold(0.2),
            "relu in place": lambda: nn.ReLU(inplace=True),
            "norm": lambda: nn.BatchNorm1d(WIDTH),
            "drop": lambda: nn.Dropout(0.5),
            "cat": lambda: nn.Linear(2 * WIDTH, WIDTH),
        }
        return made.get(kind, nn.Identity)()

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        values = [x, z, 1.0 * x]
        for (kind, first, second), layer in zip(self.plan, self.layers, strict=True):
            a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
            if kind == "add":
                values.append(a + b)
            elif kind == "iadd":
                own = a + 1.0
                own += b
                values.append(own)
            elif kind == "cat":
                values.append(layer(torch.cat([a, b], 1)))
            elif kind == "relu":
                values.append(F.relu(a))
            elif kind == "relu in place":
                values.append(layer(a + 0.0))
            else:
                values.append(layer(a))
        return tuple(values[-self.outputs :])


def random_graph(data: Any) -> tuple[nn.Module, Callable[[int], tuple[Tensor, Tensor]]]:
    """A model drawn by hypothesis, and its arguments for a batch."""
    step = st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 5))
    plan = [("linear", 0, 0), *data.draw(st.lists(step, min_size=3, max_size=12))]
    model = settled(RandomGraph(plan, data.draw(st.integers(1, 3))))
    return model, lambda n: (randn(n, n, WIDTH), randn(n + 1, n, WIDTH))
