"""Hold: the share of exact zeros led to where it is wanted while a model trains, and kept there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.watch import Call, Passes, Watch, activation_modules

GAIN, SUMMED = 4.0, 1.2  # of an excess in the logarithm of what is active: at once, and by and by
SPEED = 0.08  # by which the logarithm that is aimed at moves from look to look, at most
SMALL, LARGEST = 0.05, 10.0  # a weight is even in u below SMALL; the largest u, of a weight of 550
FEWEST = 1e-6  # share of active values: the logarithm of none is not to be had
LOOK = 4  # of so many passes one is looked at: the others go by what it has shown
MEMORY = 0.08  # the share that the newest look has in how often a unit fires
PATIENCE = 100  # passes without an active value after which a unit counts as dead

Tell = Callable[[Sequence[int], Tensor, Tensor | None], None]


class Telling(Protocol):
    """What runs a model's activations without calling them, and can tell what they put out."""

    def telling(self, tell: Tell, *, look: bool) -> AbstractContextManager[Any] | None:
        """A block in which a pass with gradients tells of its activations, in their order.

        It tells the units of one activation or several, and for these units, one after the other,
        what :func:`by_unit` gives. Where nobody looks, it may give None for how often they are
        active, and sizes whose values are of an earlier pass, with the gradients of this one.
        None in place of the block: the activations are called, and can be watched.
        """


class Hold:
    """Lead a model's zeros to a share while it trains, and keep them there.

    Three lines of a loop::

        hold = sf.Hold(model, zeros=0.9)
        with hold:
            logits = model(images)
        (cross_entropy(logits, labels) + hold.penalty()).backward()

    The penalty is a weight times the mean size of the activations, over their layers. The weight
    follows the zeros of each pass (:class:`Control`), as the idea is in ReMoE [Wang, Chen and Zhu
    2024], and a unit has a part in the mean by how often it fires: what fires often is pushed the
    most and what hardly fires is let be, so that zeros come from many units that fire at times
    rather than from dead ones. Where there are too many zeros, activity is rewarded.

    Parameters
    ----------
    model
        any module that holds activations, see :func:`sparsefield.watch.is_activation`; or what
        :func:`sparsefield.accelerate` with ``train=True`` has made of one.
    zeros
        share of exact zeros after an activation, in the mean over the activations, in (0, 1).
    reduce
        mean of a tensor over the processes that train the model, where there are several.

    Attributes
    ----------
    zeros
        share of zeros in the last pass that was looked at, of every ``LOOK`` the first; NaN before.
        Passes without gradients, and those outside the block, do not count.

    Raises
    ------
    InvalidInput
        a value out of range, or a model without activations that can be watched.

    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    >>> hold = Hold(model, zeros=0.9)
    >>> with hold:
    ...     loss = model(torch.randn(32, 4)).square().mean()
    >>> (loss + hold.penalty()).backward()
    >>> 0.2 < hold.zeros < 0.8
    True
    """

    def __init__(
        self,
        model: nn.Module,
        zeros: float,
        *,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.control, self.zeros = Control(zeros), math.nan
        self._model, modules = model, activation_modules(model)
        self._names, self._watch = tuple(modules), Watch(model, modules)
        self._reduce = reduce or (lambda tensor: tensor)
        self._scale, self._count = 1.0, 0
        self._firing: Firing | None = None
        self._push: Tensor | None = None  # on the size of each unit, since the last look
        self._heard = _Heard()
        self._penalty: Tensor | None = None
        self._block: AbstractContextManager[Passes | None] | None = None

    def __enter__(self) -> Self:
        if self._block is not None:
            raise InvalidInput("Hold: its block is open already; one pass of one loop at a time")
        if self._penalty is not None:
            warnings.warn(
                "the last pass inside `with hold` was trained without hold.penalty(), and nothing "
                "holds the zeros; add it to the loss",
                stacklevel=2,
            )
        self._heard, self._penalty = _Heard(), None
        block = self._listen()
        self._passes = block.__enter__()
        self._block = block
        return self

    def __exit__(self, *error: Any) -> None:
        block, self._block = self._block, None
        assert block is not None
        block.__exit__(*error)
        heard, self._heard = self._heard, _Heard()
        if error[0] is not None:
            return
        if self._passes is not None:
            self._passes.warn()
        if heard.sizes:
            self._end(heard)

    def penalty(self) -> Tensor:
        """What to add to the loss of the pass just made, once; a scalar.

        Raises
        ------
        InvalidInput
            no pass with gradients was made inside the block, or its penalty was taken before.
        """
        penalty, self._penalty = self._penalty, None
        if penalty is None:
            raise InvalidInput(
                "hold.penalty(): belongs to a pass that has ended, once: call the model inside "
                "`with hold:`, with gradients on, and ask after the block"
            )
        return penalty

    @property
    def dead_share(self) -> float:
        """Share of units without an active value in the last ``PATIENCE`` passes."""
        return math.nan if self._firing is None else self._firing.dead_share

    def table(self) -> HeldTable:
        """The zeros of each activation, as a running average, and its dead units."""
        return HeldTable(() if self._firing is None else tuple(self._firing.rows()))

    def state_dict(self) -> dict[str, Any]:
        """All that the next passes depend on; plain data and tensors."""
        firing = None if self._firing is None else self._firing.state_dict()
        own = {"scale": self._scale, "passes": self._count}
        return {"control": self.control.state_dict(), "firing": firing, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what is wanted stays as it is here."""
        self.control.load_state_dict(state["control"])
        self._scale, self._count = float(state["scale"]), int(state["passes"])
        held = state["firing"]
        self._firing, self._push = None if held is None else Firing(**held), None

    def _listen(self) -> AbstractContextManager[Passes | None]:
        """To hear of the activations: told by what runs them, or as they are called."""
        telling = getattr(self._model, "telling", None)
        told = None if telling is None else telling(self._heard.add, look=self._looks)
        return self._watch.passes(self._see) if told is None else told

    def _see(self, call: Call) -> None:
        if torch.is_grad_enabled():
            sizes, active = by_unit(call.output, call.units)
            self._heard.names.append(str(call.place))
            self._heard.add([len(active)], sizes, active)

    @property
    def _looks(self) -> bool:
        return self._count % LOOK == 0

    def _end(self, heard: _Heard) -> None:
        """Learn from the passes that were made, if this is one to look at, and price them."""
        sizes, active = _joined(heard.sizes), heard.joined_active()
        known = self._firing is not None and self._firing.units == heard.units
        if active is not None and (self._looks or not known):
            self._learn(heard, sizes.detach(), self._reduce(active))
        self._count += 1
        if self._push is None:
            assert self._firing is not None
            push = self._firing.to(sizes.device).parts(self.control)
            self._push = (push * (self.control.weight / self._scale)).to(sizes.dtype)
        self._penalty = torch.dot(sizes, self._push)

    def _learn(self, heard: _Heard, sizes: Tensor, active: Tensor) -> None:
        if self._firing is None or self._firing.units != heard.units:
            names = heard.names or islice(cycle(self._names), len(heard.units))
            idle = torch.zeros_like(active, dtype=torch.int32)
            self._firing = Firing(names, heard.units, active, idle)
        firing = self._firing.to(active.device)
        firing.learn(active)
        self.zeros = 1.0 - float((active * firing.evenly).sum())
        if math.isnan(self.control.course) and self.zeros < 1.0:
            mean = (self._reduce(sizes) * firing.evenly).sum()
            self._scale = float(mean) / (1.0 - self.zeros)
        self.control.after(self.zeros)
        self._push = None


class Control:
    """The weight of the penalty, look by look: a proportional and integral control of the zeros.

    weight = SMALL * sinh(GAIN * excess + the sum of SUMMED * excess over the looks), where excess
    says by how much the logarithm of the share of active values lies above its course: from that
    of the first pass to the one wanted, by at most SPEED a look. Below zero, where there are too
    many zeros, the weight is negative and activity is rewarded.

    (A weight that is multiplied or divided by 1.1 from pass to pass, as in ReMoE's router, grows
    on while the network has yet to follow, and overshoots: on the way from 50 to 95 % zeros of a
    small network to 99.6 %, with a third of its units dead for good.)

    Parameters
    ----------
    zeros
        share wanted in the end.

    >>> control, weights = Control(0.9), []
    >>> for zeros in (0.5, 0.5, 0.5, 0.52, 0.56):
    ...     control.after(zeros)
    ...     weights.append(round(control.weight, 5))
    >>> weights
    [0.0, 0.02141, 0.05335, 0.08728, 0.10959]
    """

    def __init__(self, zeros: float) -> None:
        if not 0.0 < zeros < 1.0:
            raise InvalidInput(f"zeros {zeros}: a share in (0, 1); try 0.9")
        self.zeros, self.course, self.excess, self.summed = float(zeros), math.nan, 0.0, 0.0

    @property
    def weight(self) -> float:
        """Until the next look."""
        u = self.summed + GAIN * _within(self.excess, 1.0)
        return SMALL * math.sinh(_within(u, LARGEST))

    def after(self, zeros: float) -> None:
        """A look has shown this share of zeros."""
        active, end = math.log(max(1.0 - zeros, FEWEST)), math.log(1.0 - self.zeros)
        begun = not math.isnan(self.course)
        self.course = self.course + _within(end - self.course, SPEED) if begun else active
        self.excess = active - self.course
        self.summed = _within(self.summed + SUMMED * _within(self.excess, 0.2), LARGEST)

    def state_dict(self) -> dict[str, float]:
        """All that is not given at the start."""
        return {"course": self.course, "excess": self.excess, "summed": self.summed}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a state."""
        self.course, self.excess = float(state["course"]), float(state["excess"])
        self.summed = float(state["summed"])


class Firing:
    """How often each unit fires: of all activations, one after the other.

    Parameters
    ----------
    names, units
        each activation as it was called, and how many units it has.
    share
        running average of the share of samples for which a unit is active; float32, [units].
    idle
        passes since a look last saw it active; int32, [units].

    Attributes
    ----------
    evenly
        the part of each unit in the mean over the activations; [units].
    """

    def __init__(
        self, names: Iterable[str], units: Iterable[int], share: Tensor, idle: Tensor
    ) -> None:
        self.names, self.units = tuple(names), tuple(units)
        self.share, self.idle = share.clone(), idle.clone()
        parts = [share.new_full((units,), 1.0 / units) for units in self.units]
        self.evenly = torch.cat(parts) / len(parts)

    def to(self, device: torch.device) -> Firing:
        """Itself, there."""
        self.share, self.idle = self.share.to(device), self.idle.to(device)
        self.evenly = self.evenly.to(device)
        return self

    def parts(self, control: Control) -> Tensor:
        """That of each unit in the penalty: by how often it fires, where it is to fire less."""
        rate = self.share / (1.0 - control.zeros)
        return self.evenly if control.weight < 0.0 else self.evenly * rate

    def learn(self, active: Tensor) -> None:
        """A look has shown these shares."""
        self.share.lerp_(active, MEMORY)
        self.idle.add_(LOOK).mul_(active == 0)

    @property
    def dead_share(self) -> float:
        """Of all units."""
        return float((self.idle >= PATIENCE).float().mean())

    def rows(self) -> Iterator[HeldRow]:
        """Of the table."""
        dead, units = (self.idle >= PATIENCE).float(), list(self.units)
        parts = zip(self.names, self.share.split(units), dead.split(units), strict=True)
        for name, share, gone in parts:
            yield HeldRow(name, 1.0 - float(share.mean()), float(gone.mean()))

    def state_dict(self) -> dict[str, Any]:
        """What makes it anew."""
        shares = {"share": self.share.clone(), "idle": self.idle.clone()}
        return {"names": list(self.names), "units": list(self.units), **shares}


@dataclass(frozen=True)
class HeldRow:
    """An activation: its name, its share of zeros, and its share of dead units."""

    name: str
    zeros: float
    dead: float


@dataclass(frozen=True)
class HeldTable:
    """One row an activation, in order of execution; prints as a table."""

    rows: tuple[HeldRow, ...]

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [10]) + 2
        lines = [f"{'activation':<{width}}{'zeros':>8}{'dead':>8}"]
        lines += [f"{row.name:<{width}}{row.zeros:>8.1%}{row.dead:>8.1%}" for row in self.rows]
        return "\n".join(lines)


def by_unit(y: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Of the units on an axis, the mean size with its gradients, and how often each is active.

    In float32 at least: a sum in bfloat16 stands still before its end. A tensor of fewer than two
    axes holds samples of one unit.
    """
    units = axis % y.dim() if y.dim() > 1 else None
    axes = [each for each in range(y.dim()) if each != units]
    sizes = y.to(torch.promote_types(y.dtype, torch.float32)).abs().mean(axes)
    return sizes.reshape(-1), (y.detach() != 0).float().mean(axes).reshape(-1)


class _Heard:
    """Of the passes in a block: the activations, and what was told of their units."""

    def __init__(self) -> None:
        self.names: list[str] = []  # where they are known
        self.units: tuple[int, ...] = ()
        self.sizes: list[Tensor] = []
        self.active: list[Tensor | None] = []

    def add(self, units: Sequence[int], sizes: Tensor, active: Tensor | None) -> None:
        self.units += tuple(units)
        self.sizes.append(sizes)
        self.active.append(active)

    def joined_active(self) -> Tensor | None:
        """None if some did not tell."""
        told = [each for each in self.active if each is not None]
        return _joined(told) if len(told) == len(self.active) else None


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _within(value: float, most: float) -> float:
    return max(-most, min(most, value))
