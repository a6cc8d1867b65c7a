"""Optimisers whose update is made with the weight gradients, which are then never written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from .links import lay
from .training import Segment, TrainingEngine

_SGD, _ADAM = 2.0, 3.0  # as in csrc/train.h
_REFUSED = ("amsgrad", "maximize", "differentiable", "capturable")


@dataclass
class _Plan:
    """An update of a segment, as long as its parameters and their states are the same.

    ``counts`` holds a group and its number of steps for each row of the kernels' numbers; 0 is the
    step that makes the first moment.
    """

    addresses: tuple[list[int], list[int]]
    wanted: list[bool]
    targets: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    counts: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)
    changed: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Witness:
    """A gradient that is written, to see what others do to those that are not."""

    parameter: nn.Parameter
    gradient: Tensor
    version: int

    @classmethod
    def of(cls, segment: Segment, gradient: Tensor) -> _Witness | None:
        """The bias of the last layer, whose gradient is the sum of the output's."""
        bias = segment.biases[-1]
        if bias is None or not bias.requires_grad or bias.grad is not None:
            return None
        bias.grad = gradient.flatten(0, -2).sum(dim=0)  # of an image at every pixel
        return cls(bias, bias.grad, bias.grad._version)

    def still_wanted(self) -> bool:
        """Whether nobody has set the gradients to zero; takes its own away."""
        found = self.parameter.grad
        if found is self.gradient and found._version == self.version:
            self.parameter.grad = None
            return True
        if found is None or not found.any():
            return False
        raise InvalidInput(
            "gradients were changed between backward and step, but most are not written yet: "
            "call optimizer.write_gradients() before clipping and the like"
        )


@dataclass(frozen=True)
class _Left:
    """By a backward pass: what the update is made of."""

    segment: Segment
    tape: Any
    gradient: Tensor
    witness: _Witness | None


class Fused(torch.optim.Optimizer):
    """What a torch optimiser becomes; see :meth:`TrainingEngine.optimizer`."""

    _moments: tuple[str, ...]

    def follow(self, engine: TrainingEngine) -> None:
        """Take over what backward passes of the engine leave."""
        self._pending: dict[Segment, _Left] = {}
        self._live: dict[Tensor, tuple[int, Tensor]] = {}
        self._plans: dict[Segment, _Plan] = {}
        for segment in engine.segments:
            segment.later = self
        dense = [step for step in engine.steps if isinstance(step, nn.Module)]
        self._dense_too = {p for module in dense for p in module.parameters()}

    def before(self, segment: Segment) -> None:
        """A second backward pass before a step: gradients are summed as torch does it."""
        if segment in self._pending:
            self.write_gradients()

    def after(self, segment: Segment, tape: Any, gradient: Tensor) -> None:
        """Keep what the update needs."""
        self.before(segment)
        summed = any(p.grad is not None for p in segment.parameters)
        lonely = segment.biases[-1] not in self._dense_too
        witness = _Witness.of(segment, gradient) if lonely and not summed else None
        self._pending[segment] = _Left(segment, tape, gradient, witness)
        if summed:
            self.write_gradients()  # so that what reads them sees the whole sum

    def write_gradients(self) -> None:
        """Make ``grad`` of every parameter on lists; the next step is then torch's own.

        Raises
        ------
        InvalidInput
            gradients were changed since the backward pass.
        """
        for left in self._take():
            _write(left)

    def _take(self) -> list[_Left]:
        pending, self._pending = self._pending, {}
        return [
            left for left in pending.values() if left.witness is None or left.witness.still_wanted()
        ]

    def forget(self) -> None:
        """Forget the gradients that were not written."""
        self._pending.clear()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, those that were not written too."""
        self.forget()
        super().zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient, written or not.

        Raises
        ------
        InvalidInput
            gradients were changed since the backward pass, but not all were written.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for left in self._take():
            if any(p.grad is not None for p in left.segment.parameters):
                _write(left)  # something else has a part in them
            else:
                self._update(left.segment, left.tape, left.gradient)
        self._torch_step()
        return loss

    def _torch_step(self) -> None:
        """Torch's own update, of what has a written gradient."""
        written = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for parameter in written:
            self._live.pop(parameter, None)  # its moments change
        if any(p.grad is not None for segment in self._plans for p in segment.parameters):
            self._plans.clear()
        if written:
            super().step()

    def _update(self, segment: Segment, tape: Any, gradient: Tensor) -> None:
        wanted = [p.requires_grad for p in segment.parameters]
        plan = self._plans.get(segment)
        if plan is None or (plan.addresses, plan.wanted) != (segment.addresses, wanted):
            plan = self._plans[segment] = self._planned(segment, wanted)
        rows = [self._numbers(group, count) for group, count in plan.counts]
        segment.update(tape, gradient, rows, plan.targets)
        if plan.steps:
            torch._foreach_add_(plan.steps, 1.0)
        torch.autograd.graph.increment_version(plan.changed)
        if any(count == 0.0 for _, count in plan.counts):
            del self._plans[segment]  # the first step of a moment differs
        plan.counts = [(group, count + 1.0) for group, count in plan.counts]

    def _planned(self, segment: Segment, wanted: list[bool]) -> _Plan:
        group_of = {p: group for group in self.param_groups for p in group["params"]}
        plan, numbers = _Plan(segment.addresses, wanted), {}
        for parameter in (*segment.weights, *segment.biases):
            group = None if parameter is None else group_of.get(parameter)
            if parameter is None or group is None or not parameter.requires_grad:
                plan.targets.append((-1, 0, 0, 0, 0))
                continue
            state = {} if group.get("momentum") == 0.0 else self.state[parameter]
            fresh = self._prepare(parameter, state, group)
            count = 0.0 if fresh else float(state.get("step", 0.0)) + 1.0
            key = (id(group), count)
            if key not in numbers:
                numbers[key] = len(plan.counts)
                plan.counts.append((group, count))
            if "step" in state:
                plan.steps.append(state["step"])
            plan.targets.append(self._target(parameter, state, numbers[key]))
            plan.changed.append(parameter)
        return plan

    def _prepare(self, parameter: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> bool:
        """Make the state torch would make, laid out as the parameter; whether it is new."""
        raise NotImplementedError

    def _numbers(self, group: Mapping[str, Any], step: float) -> list[float]:
        """A group's row, as csrc/train_module.cpp reads it."""
        raise NotImplementedError

    def _moments_of(self, state: Mapping[str, Any]) -> list[Tensor]:
        found = [state.get(name) for name in self._moments]
        return [moment for moment in found if moment is not None]

    def _target(
        self, parameter: Tensor, state: Mapping[str, Any], number: int
    ) -> tuple[int, int, int, int, int]:
        moments = self._moments_of(state)
        if parameter.dim() > 1:
            for moment in moments:
                lay(moment)
        addresses = [moment.data_ptr() for moment in moments] + [0, 0]
        live = self._rows(parameter, moments) if moments and parameter.dim() > 1 else None
        return (
            *(number, parameter.data_ptr(), addresses[0], addresses[1]),
            0 if live is None else live.data_ptr(),
        )

    def _rows(self, parameter: Tensor, moments: list[Tensor]) -> Tensor:
        """By input, 1 where a moment of its weights is not zero; the kernels keep it."""
        known = self._live.get(parameter)
        address = moments[0].data_ptr()
        if known is None or known[0] != address:
            live = torch.stack([(m != 0).transpose(0, 1).flatten(1) for m in moments]).any(
                dim=(0, 2)
            )
            known = self._live[parameter] = (address, live.to(torch.uint8))
        return known[1]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; what was known of the moments is forgotten."""
        super().load_state_dict(state_dict)
        self._live.clear()
        self._plans.clear()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's."""
        super().add_param_group(param_group)
        self._plans = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_pending": {}, "_live": {}, "_plans": {}}


def _write(left: _Left) -> None:
    found = left.segment.gradients(left.tape, left.gradient)
    for parameter, g in zip(left.segment.parameters, found, strict=True):
        if g is not None:
            parameter.grad = g if parameter.grad is None else parameter.grad.add_(g)


class _FusedSGD(Fused, torch.optim.SGD):
    _moments = ("momentum_buffer",)

    def _prepare(self, parameter: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> bool:
        if group["momentum"] == 0.0 or state.get("momentum_buffer") is not None:
            return False
        state["momentum_buffer"] = torch.zeros_like(parameter)
        return True

    def _numbers(self, group: Mapping[str, Any], step: float) -> list[float]:
        # the first moment is the gradient itself, whatever the dampening
        added = 1.0 if step == 0.0 else 1.0 - group["dampening"]
        rate, decay, nesterov = float(group["lr"]), group["weight_decay"], group["nesterov"]
        return [_SGD, rate, decay, 1.0, group["momentum"], added, nesterov, 0.0, 0.0, 0.0, 1.0]


class _FusedAdam(Fused, torch.optim.Adam):
    _moments = ("exp_avg", "exp_avg_sq")

    def _prepare(self, parameter: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> bool:
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return False

    def _numbers(self, group: Mapping[str, Any], step: float) -> list[float]:
        beta1, beta2 = map(float, group["betas"])
        rate, decay = float(group["lr"]), float(group["weight_decay"])
        decoupled = group.get("decoupled_weight_decay", False)
        return [
            *(_ADAM, rate / (1.0 - beta1**step)),
            *((0.0, 1.0 - rate * decay) if decoupled else (decay, 1.0)),
            *(0.0, 1.0, 0.0, beta1, beta2, group["eps"], (1.0 - beta2**step) ** 0.5),
        ]


class _FusedAdamW(_FusedAdam, torch.optim.AdamW):
    pass


_KINDS: dict[type[torch.optim.Optimizer], type[Fused]] = {
    torch.optim.SGD: _FusedSGD,
    torch.optim.Adam: _FusedAdam,
    torch.optim.AdamW: _FusedAdamW,
}


def fused(
    engine: TrainingEngine, kind: type[torch.optim.Optimizer], options: Mapping[str, Any]
) -> Fused:
    """The optimiser of :meth:`TrainingEngine.optimizer`."""
    if kind not in _KINDS:
        names = ", ".join(known.__name__ for known in _KINDS)
        raise InvalidInput(
            f"{kind.__name__}: has no fused update; choose one of {names}, or use torch's own"
        )
    for name in _REFUSED:
        if options.get(name):
            raise InvalidInput(f"{name}: the fused update does not know it; use torch's optimiser")
    parameters = [p for segment in engine.segments for p in segment.parameters]
    if len(set(parameters)) < len(parameters):
        raise InvalidInput("two layers share a parameter: use torch's own optimiser")
    optimizer = _KINDS[kind](options.pop("params", engine.parameters()), **options)  # type: ignore
    optimizer.follow(engine)
    return optimizer
