"""Measures, in rounds and on this machine, where sparse stops being faster than dense."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .expected import Load, expected_how
from .native import STORED_BYTES, instruction_set
from .phi import Phi
from .plan import ROWS, SPARSE, TORCH, How, Plan, way
from .runner import Runner

_SECONDS = 0.02  # spent on each thing that is timed
_ROUNDS, _FEWEST = 5, 3  # that those are spread over; of calls that take long
_CLEARLY = 1.1  # so much faster must be what was not expected
_DENSITIES = (0.1, 0.5)
_MARGIN = 1.03  # PyTorch must be this much faster to be preferred: it breaks a chain


Key = TypeVar("Key", bound=Hashable)


def measure(runner: Runner, x: Tensor, known: dict[Any, tuple[float, int]] | None = None) -> Plan:
    """The plan of a chain for batches of the size of ``x``, [batch, ...], its input.

    Sets ``runner.density`` to what is seen in ``x``. What is ``known`` of single products, of other
    chains too, is not measured again.

    Raises
    ------
    InvalidInput
        an input of another shape than the chain reads.
    """
    runner.check(x)
    if runner.chain.convolutional:
        x = x.permute(0, 2, 3, 1)
    x = x.contiguous()
    hidden = _hidden(runner, x)
    how = _fastest_how(runner, x)
    measured = {} if known is None else known
    answers = []
    for index, h in enumerate(hidden):
        key = (how, len(h), *_geometry(runner, index, h))
        if key not in measured:
            measured[key] = _crossover(runner, index, h, how)
        answers.append(measured[key])
    plan = Plan(len(x), how, tuple(c for c, _ in answers), tuple(d for _, d in answers))
    return _fastest_whole(runner, x, plan)


def run_times(
    runners: Sequence[Runner], x: Tensor, plan: Plan, density: NDArray[np.float64]
) -> list[float]:
    """Seconds of each runner on its input ``x``, all by one plan at the same densities."""
    h = (x.permute(0, 2, 3, 1) if runners[0].chain.convolutional else x).contiguous()
    chosen = way(plan.choose(density), plan.how)
    taken = seconds({i: partial(runner.run, h, chosen) for i, runner in enumerate(runners)})
    return list(taken.values())


def seconds(
    calls: Mapping[Key, Callable[[], object]], budget: float = _SECONDS
) -> dict[Key, float]:
    """The least time of each call, in seconds, over rounds in which all have their turn.

    What else the machine does only adds to a time, and a moment of it spoils a round of them all.
    """
    for call in calls.values():
        call()
    taken = dict.fromkeys(calls, math.inf)
    rounds, end = 0, perf_counter() + budget * len(calls)
    while rounds < _FEWEST or perf_counter() < end:
        rounds += 1
        for key, call in calls.items():
            taken[key] = min(taken[key], _least(call, budget / _ROUNDS))
    return taken


def _least(call: Callable[[], object], budget: float) -> float:
    """The least time of the calls within so many seconds, one at least."""
    least, end = math.inf, perf_counter() + budget
    while math.isinf(least) or perf_counter() < end:
        start = perf_counter()
        call()
        least = min(least, perf_counter() - start)
    return least


def _kept(expected: Key, taken: Mapping[Key, float]) -> Key:
    """The expected one, unless another is clearly faster."""
    best = min(taken, key=taken.__getitem__)
    return best if taken[expected] > _CLEARLY * taken[best] else expected


def _hidden(runner: Runner, x: Tensor) -> list[Tensor]:
    """What each product is given: x, and h of those before it; densities are noted."""
    h, given, density = x, [], []
    for index, product in enumerate(runner.chain.products):
        y = runner.chain.read(index, h)
        density.append(int(torch.count_nonzero(y)) / max(1, y.numel()))
        given.append(h)
        h = product.joined(h if index else None, product.times(y))
    runner.density = np.array(density)
    return given


def _geometry(runner: Runner, index: int, h: Tensor) -> tuple[object, ...]:
    """Products of which one is as fast as another."""
    product = runner.chain.products[index]
    kind = runner.chain.phi_read(index).kind
    return (product.inputs, product.outputs, product.window, h.shape[1:], kind, product.skip > 0.0)


def _fastest_how(runner: Runner, x: Tensor) -> How:
    if runner.packed is None:
        return "alone"
    ways: list[How] = ["alone"]
    if torch.get_num_threads() > 1:
        ways += ["together", "apart"] if len(x) > 1 else ["together"]
    chosen = np.full(len(runner.chain.products), SPARSE, np.uint8)
    taken = seconds({how: partial(runner.run, x, way(chosen, how)) for how in ways})
    return _kept(expected_how(_loads(runner, x), torch.get_num_threads(), ways), taken)


def _loads(runner: Runner, x: Tensor) -> list[Load]:
    """What each product asks of a call on x, at the densities seen."""
    found = []
    for product, density, values in zip(
        runner.chain.products, runner.density.tolist(), runner.values(x), strict=True
    ):
        sites = len(x) * values / product.inputs
        weights = product.weight.numel()
        size = weights * STORED_BYTES[runner.storage]
        found.append(Load(size, density, sites, density * sites * weights))
    return found


def _crossover(runner: Runner, index: int, h: Tensor, how: How) -> tuple[float, int]:
    """The density at which dense takes over, and the faster of the dense ways."""
    kinds = _dense_kinds(runner)
    if not kinds:
        return 2.0, SPARSE
    phi = runner.chain.phi_read(index)
    given = {} if runner.always_dense else {d: _with_density(h, phi, d) for d in _DENSITIES}
    taken = seconds(
        {("dense", kind): partial(_one, runner, index, h, kind, how) for kind in kinds}
        | {("sparse", d): partial(_one, runner, index, y, SPARSE, how) for d, y in given.items()}
    )
    dense = {kind: taken["dense", kind] for kind in kinds}
    best = min(dense, key=lambda kind: dense[kind] * (_MARGIN if kind == TORCH else 1.0))
    if runner.always_dense:
        return 0.0, best
    low, high = (taken["sparse", d] for d in _DENSITIES)
    slope = max((high - low) / (_DENSITIES[1] - _DENSITIES[0]), 1e-12)
    density = _DENSITIES[0] + (dense[best] - low) / slope
    # a crossover beyond one: dense never takes over
    return float(np.clip(density, 0.0, 2.0)), best


def _dense_kinds(runner: Runner) -> list[int]:
    if runner.storage != "float32":  # PyTorch's are not rounded
        return [] if runner.chain.convolutional else [ROWS]
    return [TORCH] if runner.packed is None or runner.chain.convolutional else [ROWS, TORCH]


def _one(runner: Runner, index: int, h: Tensor, kind: int, how: How) -> Tensor:
    """One product by itself, from what it reads to its h."""
    if kind == TORCH:
        return runner.by_torch(h, index, index + 1)
    if runner.packed is None:
        return runner.by_gathering(h, index, index + 1)
    chosen = np.full(len(runner.chain.products), kind, np.uint8)
    return runner.by_kernels(h, index, index + 1, way(chosen, how), None, raw=True)


def _with_density(h: Tensor, phi: Phi, density: float) -> Tensor:
    """Values of the shape of h of which this share is active under phi."""
    active = torch.rand(h.shape, generator=torch.Generator().manual_seed(0)) < density
    above, below = phi.tau + min(1.0, phi.m) / 2.0, phi.tau - 1.0
    return torch.where(active, above, below if phi.kind in ("one_sided", "cut") else 0.0)


def _fastest_whole(runner: Runner, x: Tensor, plan: Plan) -> Plan:
    """The plan, or its kernels alone, or PyTorch alone: whichever is fastest on the sample itself.

    Layers were timed one by one; going back and forth between PyTorch and the kernels costs too.
    """
    layers = len(plan.crossover)
    plans = [plan]
    if runner.packed is not None and not runner.chain.convolutional:
        plans.append(replace(plan, dense=(ROWS,) * layers))
    if runner.storage == "float32":
        plans.append(replace(plan, crossover=(0.0,) * layers, dense=(TORCH,) * layers))
    taken = seconds(
        {
            tried: partial(runner.run, x, way(tried.choose(runner.density), tried.how))
            for tried in plans
        }
    )
    return _kept(plan, taken)


def backend() -> str:
    """What sparse products run on, in words."""
    found = instruction_set()
    return f"native {found}" if found else "embedding_bag (built without a compiler)"
