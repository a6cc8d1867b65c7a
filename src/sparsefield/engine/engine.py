"""A chain of layers as a callable that skips the zeros, with the same outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from .calling import batches_in, cut
from .dispatch import backend, measure
from .forking import one_thread_if_forked
from .layer_choice import Choice, LayerChoice, choice_by_name, choices_of, force, span, tally
from .native import Storage
from .parts import Between, Part, flatten
from .plan import Plan
from .products import Chain
from .runner import Runner
from .staleness import STALE, StaleEngine, Versions, facts_of
from .stored import BesideFloat32, StorageTime

SMALL = 16  # below this batch, a call looks at some of the weights for changes


class Engine:
    """A model that skips the zeros of its activations; made by :func:`accelerate`.

    Calling it with ``[batch, ...]`` float32 on the CPU, of any batch size and any strides, gives
    the model's outputs in evaluation mode, without a graph for gradients. It may be called from
    several threads at once, and after a fork: in the child it runs on one thread, and sets
    PyTorch's number of threads to 1, since OpenMP's threads do not live on there. A copy, and
    what is pickled, holds weights of its own, as an engine's file does: it follows no model.

    Attributes
    ----------
    backend
        what runs the sparse products: the kernels and their instruction set, or embedding_bag.
    storage
        the format in which the kernels hold the weights.
    runs_dense
        the layers that the engine cannot take, each with the reason.
    storage_times
        with weights in fewer bits, what was measured beside float32, by batch size.
    """

    def __init__(
        self,
        parts: Iterable[Part],
        storage: Storage = "float32",
        *,
        instruction_set: str = "",
        model: nn.Module | None = None,
    ) -> None:
        one_thread_if_forked()
        self.parts = tuple(parts)
        self.storage: Storage = storage
        self.backend = f"native {instruction_set}" if instruction_set else backend()
        self.runners = tuple(
            Runner(part, storage, torch.get_num_threads(), instruction_set)
            for part in self.parts
            if isinstance(part, Chain)
        )
        runners = iter(self.runners)
        self._steps: tuple[Callable[[Tensor], Tensor], ...] = tuple(
            _graphless(part.module) if isinstance(part, Between) else next(runners)
            for part in self.parts
        )
        self.storage_times: tuple[StorageTime, ...] = ()
        self._versions = Versions(
            (p for runner in self.runners for p in runner.chain.products),
            () if model is None else facts_of(model),
        )

    def check(self) -> None:
        """Whether the model is still as it was: its weights, constants and modules.

        A call looks at some, in turn, and on a batch that is not small at all in-place changes: to
        look at everything would take as long as a small call. An optimiser's step or
        ``load_state_dict`` changes all, and is seen at once. What is written through
        ``weight.data[...]`` leaves no trace and is not seen.

        Raises
        ------
        StaleEngine
            they are not.
        """
        if self._versions.changed():
            raise StaleEngine(STALE)

    @property
    def threads(self) -> int:
        """PyTorch's number of threads, which the kernels follow."""
        return torch.get_num_threads()

    @property
    def runs_dense(self) -> dict[str, str]:
        """By layer name, why the engine cannot take it."""
        return {
            part.name: part.reason
            for part in self.parts
            if isinstance(part, Between) and part.reason is not None
        }

    @property
    def layers(self) -> tuple[LayerChoice, ...]:
        """How each layer runs, at each batch size that was measured."""
        return tuple(choice for runner in self.runners for choice in choices_of(runner))

    def __call__(self, x: Tensor) -> Tensor:
        one_thread_if_forked()
        _check_input(x)
        if self._versions.glimpsed(versions=len(x) >= SMALL):
            raise StaleEngine(STALE)
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = step(x)
        return x

    def measure(self, sample: Tensor, batches: Iterable[int] | None = None) -> None:
        """Measure the plans on this machine, for the given batch sizes (1 and the sample's).

        ``sample``, [batch, ...], is repeated or cut to each size. What :meth:`override` forced is
        measured anew.
        """
        one_thread_if_forked()
        _check_input(sample)
        wanted = batches_in([sample], batches)
        beside = BesideFloat32(self.runners, self.storage, self.threads)
        plans: dict[int, list[Plan]] = {index: [] for index in range(len(self.runners))}
        with torch.no_grad():
            for batch in wanted:
                (x,) = cut([sample], batch)
                for step in self._steps:
                    if isinstance(step, Runner):
                        plan = measure(step, x)
                        plans[self.runners.index(step)].append(plan)
                        step.plans = (plan,)
                        beside.add(step, x, plan)
                    x = step(x)
        for runner, found in zip(self.runners, plans.values(), strict=True):
            runner.plans = tuple(found)
        self.storage_times = beside.times()

    def override(self, choice: Choice | Mapping[str, Choice]) -> None:
        """Force layers to run sparse or dense, all or by name; ``measure`` leaves them."""
        by_name = choice_by_name(choice, self.runners)
        for runner in self.runners:
            force(runner, by_name)

    def __reduce__(self) -> tuple[Any, ...]:
        sets = {runner.instruction_set for runner in self.runners}
        measured = [(runner.plans, runner.density) for runner in self.runners]
        parts = tuple(_alone(part) for part in self.parts)
        return _again, (parts, self.storage, max(sets, default=""), measured, self.storage_times)

    def __repr__(self) -> str:
        lines = [f"Engine({self.backend}, {self.threads} threads, {self.storage} weights)"]
        for runner in self.runners:
            for plan in runner.plans:
                lines.append(f"  {span(runner)}, batch {plan.batch}: {tally(runner, plan)}")
        return "\n".join([*lines, *(f"  {line}" for line in self.reservations())])

    def reservations(self) -> list[str]:
        """What the engine does not gain, and why."""
        dense = [f"{name} runs dense: {reason}" for name, reason in self.runs_dense.items()]
        return [*dense, *(str(time) for time in self.storage_times if not time.faster)]


def _alone(part: Part) -> Part:
    """A part with weights of its own, that belongs to no model."""
    if isinstance(part, Between):
        return part
    products = [
        dataclasses.replace(
            product,
            weight=product.weight.clone(),
            bias=None if product.bias is None else product.bias.clone(),
            layer=None,
            norm=None,
        )
        for product in part.products
    ]
    return dataclasses.replace(part, products=tuple(products))


def _again(
    parts: Sequence[Part],
    storage: Storage,
    instruction_set: str,
    measured: Sequence[tuple[tuple[Plan, ...], Any]],
    storage_times: tuple[StorageTime, ...],
) -> Engine:
    """A copied or pickled engine."""
    engine = Engine(parts, storage, instruction_set=instruction_set)
    for runner, (plans, density) in zip(engine.runners, measured, strict=True):
        runner.plans, runner.density = plans, density
    engine.storage_times = storage_times
    return engine


def _graphless(module: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The kernels make no graph; to enter ``no_grad`` for them would take as long as a layer."""
    return module if module is flatten else torch.no_grad()(module)


def _check_input(x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise InvalidInput(f"input of {type(x).__name__}: the engine takes a torch.Tensor")
    if x.dtype != torch.float32:
        raise InvalidInput(f"input of {x.dtype}: the engine takes float32; pass x.float()")
    if x.device.type != "cpu":
        raise InvalidInput(f"input on {x.device}: the engine runs on the CPU; pass x.cpu()")
    if x.layout != torch.strided:
        raise InvalidInput(f"input of {x.layout}: the engine finds zeros itself; pass x.to_dense()")
    if x.dim() < 2:
        raise InvalidInput(f"input {list(x.shape)}: the engine takes [batch, ...]; pass x[None]")
