"""A trained network made sparse: thresholds from a sample, ready to be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.watch import Call, Place, Watch

from .activations import ShiftedReLU
from .fatrelu import FATReLU, quantile
from .held import checked_ignore, parts
from .mode import evaluating
from .order import Sample, run
from .rectifier import is_rectifier
from .swap import Swap, swap_modules
from .swap_calls import swap_calls_of


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
    model: nn.Module, sample: Sample, *, zeros: float, ignore: Iterable[str] = ()
) -> ThresholdTable:
    """Give each ReLU-like activation the threshold at which this share of the sample is zero.

    An activation becomes a :class:`FATReLU` [Kurtz et al. 2020], which keeps what exceeds the
    threshold as it is. Thresholds are set one after another in the order in which they run, each
    on what those before it leave. Train on afterwards: accuracy comes back.

    Parameters
    ----------
    model
        of any class, trained; changed in place.
    sample
        some hundred inputs: a tensor, a tuple of arguments or a dict of keywords. The model runs
        in evaluation mode.
    zeros
        share of exact zeros of each activation, in (0, 1).
    ignore
        names of sub-modules that stay as they are.

    Raises
    ------
    InvalidInput
        a share out of range, a name that is not there, a function call that cannot be replaced,
        or nothing to give a threshold to.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    >>> table = threshold_(model, torch.randn(512, 8), zeros=0.9)
    >>> round(table.rows[0].zeros, 2)
    0.9
    """
    if not 0.0 < zeros < 1.0:
        raise InvalidInput(f"zeros {zeros}: a share in (0, 1); try 0.9")
    ignored = checked_ignore(model, ignore)
    with ExitStack() as undo, evaluating(model), torch.no_grad():
        was = _swapped(model, sample, ignored, undo)
        made = fatrelus(model, ignored)
        before = zeros_of(model, sample, made)
        called = _raised(made, model, sample, zeros)
        after = zeros_of(model, sample, made)
        undo.pop_all()
    for part in made.values():
        part.training = model.training
    return ThresholdTable(
        tuple(
            ThresholdRow(name, was.get(name, "FATReLU"), made[name].tau, before[name], after[name])
            for name in called
        )
    )


def fatrelu_(model: nn.Module) -> None:
    """Put a :class:`FATReLU` of threshold 0 in the place of each rectifier module."""
    with ExitStack() as undo:
        swap_modules(model, _SWAP, (), undo)
        undo.pop_all()


def fatrelus(model: nn.Module, ignored: Sequence[str] = ()) -> dict[str, FATReLU]:
    """Those of a model, by name."""
    return {name: part for name, part in parts(model, ignored) if isinstance(part, FATReLU)}


def _is_rectifier(part: nn.Module) -> bool:
    return is_rectifier(part) or (isinstance(part, ShiftedReLU) and part.tau == 0.0)


_SWAP = Swap(lambda: FATReLU(0.0), _is_rectifier)


def _swapped(
    model: nn.Module, sample: Sample, ignored: Sequence[str], undo: ExitStack
) -> dict[str, str]:
    """Put a FATReLU in the place of every rectifier; what stood there, by name."""
    was = swap_modules(model, _SWAP, ignored, undo)
    names = {id(part): name for name, part in parts(model, ignored)}
    again, failed = swap_calls_of(model, sample, _SWAP.make, names, undo)
    if failed:
        owner, reason = next(iter(failed.items()))
        raise InvalidInput(
            f"{names[owner] or type(model).__name__}: calls a rectifier as a function that cannot "
            f"be replaced ({reason}); make it a module, or name it in ignore"
        )
    if not was and not again and not fatrelus(model, ignored):
        raise InvalidInput(
            f"{type(model).__name__}: meets no ReLU, GELU or other rectifier to give a threshold to"
        )
    return was | again


def _raised(
    made: dict[str, FATReLU], model: nn.Module, sample: Sample, zeros: float
) -> tuple[str, ...]:
    """Set each threshold just before its activation is first called; names, in that order."""
    called: dict[str, None] = {}

    def enter(place: Place, read: Tensor) -> None:
        if place.name not in called:
            made[place.name].tau = quantile(read, zeros)
            called[place.name] = None

    with Watch(model, made).passes(lambda _: None, before=enter) as passes:
        run(model, sample)
    passes.warn()
    return tuple(called)


def zeros_of(
    model: nn.Module, sample: Sample, modules: Mapping[str, nn.Module]
) -> dict[str, float]:
    """Share of exact zeros of these activations on the sample, all calls of one together."""
    counted = {name: [0, 0] for name in modules}

    def see(call: Call) -> None:
        sums = counted[call.place.name]
        sums[0] += int(call.zeros)
        sums[1] += call.output.numel()

    with Watch(model, modules).passes(see) as passes:
        run(model, sample)
    passes.warn()
    return {name: zero / max(values, 1) for name, (zero, values) in counted.items()}
