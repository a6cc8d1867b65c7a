"""A trained network made sparse: thresholds from a sample, ready to be trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.watch import Call, Watch, modules_of

from .activations import ShiftedReLU
from .fatrelu import FATReLU
from .mode import evaluating

# Their function beyond a threshold is taken for x itself.
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.LeakyReLU, nn.ELU)


@dataclass(frozen=True)
class ThresholdRow:
    """What :func:`threshold_` did to one activation.

    Attributes
    ----------
    name
        of the module in the model.
    was
        class of the module that stood there.
    tau
        its threshold now, in the units of the pre-activation.
    zeros_before, zeros
        share of exact zeros on the sample, before, and now that all thresholds are set.
    """

    name: str
    was: str
    tau: float
    zeros_before: float
    zeros: float


@dataclass(frozen=True)
class ThresholdTable:
    """What every activation was given; prints as a table."""

    rows: tuple[ThresholdRow, ...]

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [10]) + 2
        head = f"{'activation':<{width}}{'was':<12}{'tau':>9}{'zeros before':>14}{'zeros':>9}"
        lines = [
            f"{row.name:<{width}}{row.was:<12}{row.tau:>9.4g}{row.zeros_before:>13.1%}"
            f"{row.zeros:>9.1%}"
            for row in self.rows
        ]
        return "\n".join([head, *lines])


def threshold_(
    model: nn.Module, sample: Tensor, *, zeros: float, ignore: Iterable[str] = ()
) -> ThresholdTable:
    """Give each ReLU-like activation the threshold at which this share of the sample is zero.

    An activation becomes a :class:`FATReLU` [Kurtz et al. 2020], which keeps what exceeds the
    threshold as it is. Thresholds are set one after another in the order in which they run, each
    on what those before it leave. Train on afterwards: accuracy comes back.

    Parameters
    ----------
    model
        of any class, trained, its activations modules; changed in place.
    sample
        a batch as the model reads it, some hundred inputs; the model runs in evaluation mode.
    zeros
        share of exact zeros of each activation, in (0, 1).
    ignore
        names of activations that stay as they are.

    Raises
    ------
    InvalidInput
        a share out of range, a name that is no activation, or nothing to give a threshold to.

    >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    >>> table = threshold_(model, torch.randn(512, 8), zeros=0.9)
    >>> round(table.rows[0].zeros, 2)
    0.9
    """
    if not 0.0 < zeros < 1.0:
        raise InvalidInput(f"zeros {zeros}: a share in (0, 1); try 0.9")
    found = _rectifiers(model, set(ignore))
    before = _zeros_of(model, found, sample)
    made = fatrelu_(model, ignore=ignore)
    called = _raised(made, model, sample, zeros)
    after = _zeros_of(model, made, sample)
    return ThresholdTable(
        tuple(
            ThresholdRow(
                name, type(found[name]).__name__, made[name].tau, before[name], after[name]
            )
            for name in called
        )
    )


def fatrelu_(model: nn.Module, *, ignore: Iterable[str] = ()) -> dict[str, FATReLU]:
    """Put a :class:`FATReLU` of threshold 0 in the place of each ReLU-like activation, by name.

    Those that are there already stay.
    """
    made = {
        name: module if isinstance(module, FATReLU) else FATReLU(0.0)
        for name, module in _rectifiers(model, set(ignore)).items()
    }
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)
    return made


def _rectifiers(model: nn.Module, ignore: set[str]) -> dict[str, nn.Module]:
    wanted = modules_of(model, _is_rectifier)
    if odd := sorted(ignore - set(wanted)):
        raise InvalidInput(f"ignore={odd}: no activations of the model; they are {list(wanted)}")
    found = {name: module for name, module in wanted.items() if name not in ignore}
    if not found:
        raise InvalidInput(
            f"{type(model).__name__}: holds no module such as nn.ReLU or nn.GELU to be given a "
            "threshold; write its activations as modules"
        )
    return found


def _is_rectifier(module: nn.Module) -> bool:
    shifted = isinstance(module, ShiftedReLU) and module.tau == 0.0
    return shifted or isinstance(module, (*RECTIFIERS, FATReLU))


def _raised(
    made: dict[str, FATReLU], model: nn.Module, sample: Tensor, zeros: float
) -> tuple[str, ...]:
    """Set each threshold just before its activation is first called; names, in that order."""
    called: dict[str, None] = {}

    def enter(module: FATReLU, name: str, read: Tensor) -> None:
        if name not in called:
            module.tau = max(_quantile(read, zeros), 0.0)
            called[name] = None

    handles = [
        module.register_forward_pre_hook(
            lambda module, args, name=name: enter(module, name, args[0])
        )
        for name, module in made.items()
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(sample)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(called)


def _quantile(x: Tensor, share: float) -> float:
    """The least value that at least this share of the values does not exceed."""
    values = x.detach().flatten().float()
    return values.kthvalue(max(math.ceil(share * values.numel()), 1)).values.item()


def _zeros_of(model: nn.Module, modules: dict[str, nn.Module], sample: Tensor) -> dict[str, float]:
    counted: dict[str, list[int]] = {}

    def see(call: Call) -> None:
        sums = counted.setdefault(call.place.name, [0, 0])
        sums[0] += int(call.zeros)
        sums[1] += call.output.numel()

    with evaluating(model), torch.no_grad(), Watch(model, modules).passes(see) as passes:
        model(sample)
    passes.warn()
    return {name: zero / values for name, (zero, values) in counted.items()}
