"""accelerate(): a trained model as a callable that skips the zeros, with the same outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, overload

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from .dispatch import backend, measure
from .forking import one_thread_if_forked
from .native import STORAGES, Storage, kernels
from .parts import Between, Part, flatten, parts_of
from .plan import Plan
from .products import Chain
from .runner import Runner
from .staleness import Versions
from .stored import BesideFloat32, StorageTime
from .training import TrainingEngine, train_engine

Choice = Literal["measure", "sparse", "dense"]
_SMALL = 16  # below this batch, a call looks at some of the weights for changes
_STALE = "the model's weights have changed since accelerate(); call it again on the model"


class StaleEngine(InvalidInput):
    """The model's weights have changed since the engine was made."""


@dataclass(frozen=True)
class LayerChoice:
    """How one layer runs at one batch size.

    Attributes
    ----------
    name
        in the model.
    batch
        at which it was measured.
    crossover
        density of the input above which dense is faster; above 1: never.
    density
        as last seen.
    runs
        ``sparse``, ``rows`` (dense, by the kernels) or ``torch``.
    """

    name: str
    batch: int
    crossover: float
    density: float
    runs: Literal["sparse", "rows", "torch"]


class Engine:
    """A model that skips the zeros of its activations; made by :func:`accelerate`.

    Calling it with ``[batch, ...]`` float32 on the CPU, of any batch size and any strides, gives
    the model's outputs in evaluation mode, without a graph for gradients. It may be called from
    several threads at once, and after a fork: in the child it runs on one thread, and sets
    PyTorch's number of threads to 1, since OpenMP's threads do not live on there.

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
        self, parts: Iterable[Part], storage: Storage = "float32", *, instruction_set: str = ""
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
        self._versions = Versions(p for runner in self.runners for p in runner.chain.products)

    def check(self) -> None:
        """Whether the model's weights are still those that were copied.

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
            raise StaleEngine(_STALE)

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
        runs: dict[int, Literal["sparse", "rows", "torch"]] = {0: "sparse", 1: "rows", 2: "torch"}
        return tuple(
            LayerChoice(product.name, plan.batch, crossover, float(density), runs[int(chosen)])
            for runner in self.runners
            for plan in runner.plans
            for product, crossover, density, chosen in zip(
                runner.chain.products,
                plan.crossover,
                runner.density,
                plan.choose(runner.density),
                strict=True,
            )
        )

    def __call__(self, x: Tensor) -> Tensor:
        one_thread_if_forked()
        _check_input(x)
        if self._versions.glimpsed(versions=len(x) >= _SMALL):
            raise StaleEngine(_STALE)
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
        if not len(sample):
            raise InvalidInput("sample: holds no row; give a batch of real inputs")
        wanted = sorted({1, len(sample)} if batches is None else set(batches))
        if not wanted or wanted[0] < 1:
            raise InvalidInput(f"batches {wanted}: give sizes of at least 1 to measure at")
        beside = BesideFloat32(self.runners, self.storage, self.threads)
        plans: dict[int, list[Plan]] = {index: [] for index in range(len(self.runners))}
        with torch.no_grad():
            for batch in wanted:
                x = sample[torch.arange(batch) % len(sample)]
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
        by_name = self._by_name(choice)
        for runner in self.runners:
            runner.plans = tuple(_forced(plan, runner, by_name) for plan in runner.plans)

    def _by_name(self, choice: Choice | Mapping[str, Choice]) -> Mapping[str, Choice]:
        names = {p.name for runner in self.runners for p in runner.chain.products}
        by_name = choice if isinstance(choice, Mapping) else dict.fromkeys(names, choice)
        for name, value in by_name.items():
            if name not in names:
                raise InvalidInput(f"dispatch {name!r}: no layer of that name; see engine.layers")
            if value not in ("measure", "sparse", "dense"):
                raise InvalidInput(f"dispatch {value!r}: choose measure, sparse or dense")
        return by_name

    def __repr__(self) -> str:
        lines = [f"Engine({self.backend}, {self.threads} threads, {self.storage} weights)"]
        for runner in self.runners:
            for plan in runner.plans:
                lines.append(f"  {_span(runner)}, batch {plan.batch}: {_tally(runner, plan)}")
        return "\n".join([*lines, *(f"  {line}" for line in self._reservations())])

    def _reservations(self) -> list[str]:
        """What the engine does not gain, and why."""
        dense = [f"{name} runs dense: {reason}" for name, reason in self.runs_dense.items()]
        return [*dense, *(str(time) for time in self.storage_times if not time.faster)]


@overload
def accelerate(
    model: nn.Module,
    sample: Tensor,
    *,
    storage: Storage = "float32",
    dispatch: Choice | Mapping[str, Choice] = "measure",
    batches: Iterable[int] | None = None,
    train: Literal[False] = False,
) -> Engine: ...
@overload
def accelerate(model: nn.Module, sample: Tensor, *, train: Literal[True]) -> TrainingEngine: ...
def accelerate(
    model: nn.Module,
    sample: Tensor,
    *,
    storage: Storage = "float32",
    dispatch: Choice | Mapping[str, Choice] = "measure",
    batches: Iterable[int] | None = None,
    train: bool = False,
) -> Engine | TrainingEngine:
    """A callable with the model's outputs that skips the zeros of its activations.

    Takes :class:`~sparsefield.DNN`, :class:`~sparsefield.CNN` and ``nn.Sequential`` chains of
    Linear, Conv2d, activations, pooling and flatten. Another layer runs as it is, and a warning
    names it. Where sparse is not faster, by measurement on ``sample``, a layer runs dense.

    Parameters
    ----------
    model
        float32 on the CPU; its weights are copied into the engine's own layout.
    sample
        ``[batch, ...]``, real inputs: their zeros and this machine decide what runs sparse.
    storage
        ``float32``; or ``bfloat16`` or ``int8`` (one scale per output), which move fewer bytes
        and change the outputs: see :func:`~sparsefield.engine.rounding`. A warning says at which
        batch sizes that is not faster.
    dispatch
        ``measure``; or ``sparse`` or ``dense`` for all layers, or by layer name, where there is
        such a way (convolutions have no sparse one without kernels, and no dense one with
        rounded weights).
    batches
        batch sizes to measure; by default 1 and the sample's. A call follows the nearest.
    train
        instead, a module over the same parameters that trains on lists: layers that read an
        activation. It takes none of the options above, and measures nothing.

    Returns
    -------
    The engine; its ``repr`` and ``layers`` show what was chosen. With ``train``, a
    :class:`~sparsefield.engine.TrainingEngine`.

    Raises
    ------
    InvalidInput
        another dtype or device, an input that does not fit, or no layer that it knows.

    >>> import torch
    >>> from sparsefield import DNN, accelerate, solve
    >>> model = DNN(64, 100, 5, 10, solve("crelu", sparsity=0.9, q=4.0, clip=1.1))
    >>> x = torch.randn(32, 64)
    >>> engine = accelerate(model, x)
    >>> torch.allclose(engine(x), model(x), rtol=1e-4, atol=1e-4)
    True
    """
    if train:
        if (storage, dispatch, batches) != ("float32", "measure", None):
            raise InvalidInput("train=True: takes neither storage, dispatch nor batches")
        return train_engine(model, sample)
    if storage not in STORAGES:
        raise InvalidInput(f"storage {storage!r}: choose one of {', '.join(STORAGES)}")
    if storage != "float32" and kernels() is None:
        raise InvalidInput(f"storage {storage}: needs the compiled kernels; build with a compiler")
    one_thread_if_forked()
    engine = Engine(parts_of(model), storage)
    if not engine.runners:
        reasons = "".join(f"; {name}: {reason}" for name, reason in engine.runs_dense.items())
        raise InvalidInput(
            f"{type(model).__name__}: holds no Linear or Conv2d that it can take{reasons}"
        )
    engine._by_name(dispatch)  # before seconds are spent
    engine.measure(sample, batches)
    for line in engine._reservations():
        warnings.warn(f"accelerate: {line}", stacklevel=2)
    engine.override(dispatch)
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


def _forced(plan: Plan, runner: Runner, by_name: Mapping[str, Choice]) -> Plan:
    if runner.always_dense:
        return plan
    never = {"sparse": 2.0, "dense": 0.0}
    crossover = [
        never.get(by_name.get(product.name, "measure"), measured)
        for product, measured in zip(runner.chain.products, plan.crossover, strict=True)
    ]
    return replace(plan, crossover=tuple(crossover))


def _span(runner: Runner) -> str:
    products = runner.chain.products
    return products[0].name if len(products) == 1 else f"{products[0].name} to {products[-1].name}"


def _tally(runner: Runner, plan: Plan) -> str:
    chosen = plan.choose(runner.density).tolist()
    names = {0: "sparse", 1: "dense by the kernels", 2: "dense by torch"}
    counts = [f"{chosen.count(way)} {name}" for way, name in names.items() if way in chosen]
    return f"{', '.join(counts)}, threads {plan.how}"
