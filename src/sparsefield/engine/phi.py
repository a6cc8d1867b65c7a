"""The activations that the kernels know: shifted and clipped, one- and two-sided, cut, identity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield.nn import CST, Activation, CReLU, FATReLU, ShiftedReLU, SoftThreshold, crelu, cst

Kind = Literal["identity", "one_sided", "two_sided", "cut"]
# as in csrc/chain.h
CODES: dict[Kind, int] = {"identity": 0, "one_sided": 1, "two_sided": 2, "cut": 3}

_KNOWN = (
    *(CReLU, CST, ShiftedReLU, SoftThreshold, FATReLU),
    *(nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Softshrink),
)


@dataclass(frozen=True)
class Phi:
    """An activation; calling it is the dense reference.

    Attributes
    ----------
    kind
        ``identity``, ``one_sided`` (ReLU, CReLU), ``two_sided`` (soft threshold, CST) or ``cut``
        (FATReLU).
    tau, m
        threshold and clip height, in the units of the pre-activation.
    """

    kind: Kind = "identity"
    tau: float = 0.0
    m: float = math.inf

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "identity":
            return x
        if self.kind == "cut":
            return F.threshold(x, self.tau, 0.0)
        if self.kind == "two_sided":
            return cst(x, self.tau, self.m)
        if math.isinf(self.m):
            return F.relu(x - self.tau if self.tau else x)
        return crelu(x, self.tau, self.m)


IDENTITY = Phi()


def phi_of(module: nn.Module) -> Phi | None:
    """The activation that a module is, if the kernels know it."""
    if type(module) not in _KNOWN:  # a subclass may compute anything
        return None
    if isinstance(module, FATReLU):
        return Phi("cut", module.tau)
    if isinstance(module, Activation):
        return Phi("two_sided" if module.two_sided else "one_sided", module.tau, module.m)
    if isinstance(module, nn.ReLU):
        return Phi("one_sided")
    if isinstance(module, nn.Hardtanh) and module.min_val == 0.0:  # ReLU6 is one
        return Phi("one_sided", 0.0, float(module.max_val))
    if isinstance(module, nn.Softshrink):
        return Phi("two_sided", float(module.lambd))
    return None
