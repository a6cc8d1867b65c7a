"""The sparse activations as torch functions and modules.

Their derivative is known from the output alone (1 strictly between zero and the clip), and the
output is what the next layer keeps for its own backward: an activation adds no saved memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from sparsefield.errors import InvalidInput

from .constants import Constants

# the gradient where low < y < high, and where y != 0
_inside = torch.ops.aten.hardtanh_backward.default
_nonzero = torch.ops.aten.softshrink_backward.default


def _one_sided(x: Tensor, tau: float, m: float) -> Tensor:
    return F.hardtanh(x - tau, 0.0, m)


def _two_sided(x: Tensor, tau: float, m: float) -> Tensor:
    return F.hardtanh(F.softshrink(x, tau), -m, m)


@cache
def _as_stored(m: float, dtype: torch.dtype) -> float:
    """``m`` as an output of this dtype holds it: the backward pass compares the two."""
    return torch.tensor(m, dtype=dtype, device="cpu").item()


class _OneSided(torch.autograd.Function):
    """min(max(x - tau, 0), m), remembering only its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, m: float) -> Tensor:
        h = x - tau
        ctx.m = _as_stored(m, h.dtype)  # of integers it is a float
        y = h.clamp_(0.0, ctx.m)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        return _inside(grad, y, 0.0, ctx.m), None, None


class _TwoSided(torch.autograd.Function):
    """sign(x) min(max(|x| - tau, 0), m), remembering only its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, m: float) -> Tensor:
        ctx.m = _as_stored(m, x.dtype)
        y = F.softshrink(x, tau).clamp_(-ctx.m, ctx.m)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        inside = _inside(grad, y, -ctx.m, ctx.m)
        return _nonzero(inside, y, 0.0), None, None


def _must_trace(x: Any) -> bool:
    """Whether plain operators are wanted: under a compiler, a tracer, a transform, forward mode.

    They decide for themselves what to keep, and none can look into an autograd function that is
    written for speed in eager mode.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
        or not isinstance(x, Tensor)  # of torch.fx
    )


def _floating(x: Tensor) -> Tensor:
    """Integers as floats, which a difference by a float makes of them."""
    whole = isinstance(x, Tensor) and not (x.is_floating_point() or x.is_complex())
    return x.to(torch.get_default_dtype()) if whole else x


def crelu(x: Tensor, tau: float, m: float) -> Tensor:
    """min(max(x - tau, 0), m), elementwise [P24, DT26]; same shape and dtype as ``x``.

    >>> crelu(torch.tensor([0.5, 1.5, 9.0]), tau=1.0, m=2.0)
    tensor([0.0000, 0.5000, 2.0000])
    """
    if _must_trace(x):
        return _one_sided(x, tau, m)
    return _OneSided.apply(x, tau, m)  # type: ignore[no-untyped-call, no-any-return]


def cst(x: Tensor, tau: float, m: float) -> Tensor:
    """sign(x) min(max(abs(x) - tau, 0), m), elementwise [P24, DT26]; ``tau`` >= 0."""
    x = _floating(x)
    if _must_trace(x):
        return _two_sided(x, tau, m)
    return _TwoSided.apply(x, tau, m)  # type: ignore[no-untyped-call, no-any-return]


def shifted_relu(x: Tensor, tau: float) -> Tensor:
    """max(x - tau, 0), elementwise [P24]."""
    return F.relu(x - tau)  # its own backward keeps the output alone


def soft_threshold(x: Tensor, tau: float) -> Tensor:
    """sign(x) max(abs(x) - tau, 0), elementwise [P24]; ``tau`` >= 0."""
    return cst(x, tau, math.inf)


def constant(name: str) -> property:
    """A float of an activation, as it stands in the memory of its state dict's entries."""

    def get(self: Activation) -> float:
        self._look()
        return self._known[name]

    def put(self: Activation, value: float) -> None:
        self._known[name] = float(value)
        if name in self._kept:
            self._buffers.put(name, float(value))

    return property(get, put)


class Activation(nn.Module):
    """Base of the sparse activations.

    Their constants are plain floats (exact under ``.to(bfloat16)``, constants to a compiler) and
    still travel in ``state_dict`` as float64 scalars. What is written into one of those takes
    effect; in code that is compiled already, as soon as the module is looked at.

    Attributes
    ----------
    tau
        threshold, in the units of the pre-activation; NaN where each sample has its own.
    m
        clip height, infinite for the unclipped ones.
    two_sided
        whether large negative inputs are active too.
    is_activation
        says so to whoever watches a model, see :mod:`sparsefield.watch`.
    """

    is_activation = True
    two_sided: bool = False
    tau = constant("tau")
    m = constant("m")
    _kept: tuple[str, ...] = ("tau", "m")
    _buffers: Constants

    def __init__(self, tau: float, m: float = math.inf) -> None:
        super().__init__()
        self._known: dict[str, float] = {}
        self._seen: list[float] = []
        self._buffers = Constants(self._kept)
        self.tau, self.m = tau, m
        _check_constants(self._known["tau"], self._known["m"], two_sided=self.two_sided)

    @property
    def constants(self) -> dict[str, float]:
        """What sets the function apart from others of its kind, by name."""
        self._look()
        return {name: self._known[name] for name in self._kept}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value:.6g}" for name, value in self.constants.items())

    def _look(self) -> None:
        """Take what has been written into entries; a compiler runs this as it is."""
        now = self._buffers.floats()
        if now != self._seen:
            written = dict(zip(self._kept, now, strict=True))
            self._check({**self._known, **written})
            self._known.update(written)
            self._seen = now

    # what torch.compiler.assume_constant_result sets; to call it is to import the compiler
    _look._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._kept:  # a float, though a name among the buffers
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        self._look()
        state = self.__dict__ | self._known | {"_buffers": {}}
        del state["_known"], state["_seen"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        names = [name for name in ("tau", "m", *self._kept) if name in state]
        known = {name: state[name] for name in names}
        super().__setstate__({name: state[name] for name in state if name not in known})  # type: ignore[no-untyped-call]
        self._known, self._seen, self._buffers = {}, [], Constants(self._kept)
        for name, value in known.items():
            setattr(self, name, value)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name in self._kept:
            destination[prefix + name] = self._buffers.entry(name)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        held = {key[len(prefix) :] for key in state_dict if key.startswith(prefix)}
        values = {name: float(state_dict[prefix + name]) for name in self._kept if name in held}
        if strict:
            missing_keys += [prefix + name for name in self._kept if name not in held]
            unexpected_keys += [prefix + name for name in sorted(held - set(self._kept))]
        try:
            self._check({**self._known, **values})
        except InvalidInput as error:
            error_msgs.append(f"{prefix}: {error}")
        else:
            for name, value in values.items():
                setattr(self, name, value)

    def _check(self, constants: Mapping[str, float]) -> None:
        """Refuse constants that are none."""
        _check_constants(constants["tau"], constants["m"], two_sided=self.two_sided)


def _check_constants(tau: float, m: float, *, two_sided: bool) -> None:
    if not math.isfinite(tau) or (two_sided and tau < 0.0):
        raise InvalidInput(f"tau {tau}: must be finite, and >= 0 for a two-sided activation")
    if not m > 0.0:
        raise InvalidInput(f"m {m}: the clip height must be positive; solve() gives one")


class CReLU(Activation):
    """Clipped shifted ReLU as a module: :func:`crelu` with fixed ``tau`` and ``m``."""

    def __init__(self, tau: float, m: float) -> None:
        super().__init__(tau, m)

    def forward(self, x: Tensor) -> Tensor:
        self._look()
        return crelu(x, self._known["tau"], self._known["m"])


class CST(Activation):
    """Clipped soft threshold as a module: :func:`cst` with fixed ``tau`` and ``m``."""

    two_sided = True

    def __init__(self, tau: float, m: float) -> None:
        super().__init__(tau, m)

    def forward(self, x: Tensor) -> Tensor:
        self._look()
        return cst(x, self._known["tau"], self._known["m"])


class ShiftedReLU(Activation):
    """Shifted ReLU as a module: :func:`shifted_relu` with fixed ``tau``."""

    _kept = ("tau",)

    def __init__(self, tau: float) -> None:
        super().__init__(tau)

    def forward(self, x: Tensor) -> Tensor:
        return shifted_relu(x, self.tau)


class SoftThreshold(Activation):
    """Soft threshold as a module: :func:`soft_threshold` with fixed ``tau``."""

    two_sided = True
    _kept = ("tau",)

    def __init__(self, tau: float) -> None:
        super().__init__(tau)

    def forward(self, x: Tensor) -> Tensor:
        return soft_threshold(x, self.tau)
