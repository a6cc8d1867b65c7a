"""Measures, once and on this machine, where sparse stops being faster than dense."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor

from .native import instruction_set
from .phi import Phi
from .plan import ROWS, SPARSE, TORCH, How, Plan, way
from .runner import Runner

_SECONDS = 0.02  # spent on each thing that is timed
_DENSITIES = (0.1, 0.5)
_MARGIN = 1.03  # PyTorch must be this much faster to be preferred: it breaks a chain


def measure(runner: Runner, x: Tensor) -> Plan:
    """The plan of a chain for batches of the size of ``x``, [batch, ...], its input.

    Sets ``runner.density`` to what is seen in ``x``.

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
    measured: dict[tuple[object, ...], tuple[float, int]] = {}
    answers = []
    for index, h in enumerate(hidden):
        key = _geometry(runner, index, h)
        if key not in measured:
            measured[key] = _crossover(runner, index, h, how)
        answers.append(measured[key])
    plan = Plan(len(x), how, tuple(c for c, _ in answers), tuple(d for _, d in answers))
    return _fastest_whole(runner, x, plan)


def seconds(call: Callable[[], object], budget: float = _SECONDS) -> float:
    """The median time of a call, in seconds, after one that is not counted."""
    call()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


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
    taken = {how: seconds(partial(runner.run, x, way(chosen, how))) for how in ways}
    return min(ways, key=taken.__getitem__)


def _crossover(runner: Runner, index: int, h: Tensor, how: How) -> tuple[float, int]:
    """The density at which dense takes over, and the faster of the dense ways."""
    dense = {
        kind: seconds(partial(_one, runner, index, h, kind, how)) for kind in _dense_kinds(runner)
    }
    if not dense:
        return 2.0, SPARSE
    best = min(dense, key=lambda kind: dense[kind] * (_MARGIN if kind == TORCH else 1.0))
    if runner.always_dense:
        return 0.0, best
    phi = runner.chain.phi_read(index)
    low, high = (
        seconds(partial(_one, runner, index, _with_density(h, phi, d), SPARSE, how))
        for d in _DENSITIES
    )
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
    return torch.where(active, above, 0.0 if phi.kind != "one_sided" else below)


def _fastest_whole(runner: Runner, x: Tensor, plan: Plan) -> Plan:
    """The plan, or its kernels alone, or PyTorch alone: whichever is fastest on the sample itself.

    Layers were timed one by one; going back and forth between PyTorch and the kernels costs too.
    """
    layers = len(plan.crossover)
    plans = {plan}
    if runner.packed is not None and not runner.chain.convolutional:
        plans.add(replace(plan, dense=(ROWS,) * layers))
    if runner.storage == "float32":
        plans.add(replace(plan, crossover=(0.0,) * layers, dense=(TORCH,) * layers))
    taken = {
        tried: seconds(partial(runner.run, x, way(tried.choose(runner.density), tried.how)))
        for tried in plans
    }
    return min(plans, key=taken.__getitem__)


def backend() -> str:
    """What sparse products run on, in words."""
    found = instruction_set()
    return f"native {found}" if found else "embedding_bag (built without a compiler)"
