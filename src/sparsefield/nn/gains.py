"""Filling a model while its sample runs, each layer as soon as what it reads is there."""

from __future__ import annotations

import math
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.theory import CriticalPoint, Point, solve
from sparsefield.theory.sums import normed_variance
from sparsefield.watch import Call, Place, Watch

from .fill import fill, read_moment
from .job import Job, Left
from .measure import measure
from .of_point import activation
from .order import NORMS, Reading, run
from .plan import Vouched, is_theory, own_terms, targets
from .swap import put

_SPARE = 0.05  # of what its terms were given: less would all but silence them
_LEVEL = 0.01  # relative: as good as told
_SAME = 1e-6  # relative: a norm that gives this much of q* gives q*


def set_norms(job: Job, order: Reading, left: Left, undo: ExitStack) -> None:
    """gamma^2 = what is wanted of it and beta = 0, in each norm that an activation reads."""
    goal = targets(order, job.point)
    for name in dict.fromkeys(call.name for call in order.of("norm")):
        if name not in left.parts:
            norm = job.part(name)
            assert isinstance(norm.weight, Tensor)
            _set(norm.weight, math.sqrt(goal[name]), undo)
            if isinstance(getattr(norm, "bias", None), Tensor):
                _set(norm.bias, 0.0, undo)  # type: ignore[arg-type]


@torch.no_grad()
def _set(parameter: Tensor, value: float, undo: ExitStack) -> None:
    _remember(parameter, undo)
    parameter.fill_(value)


def _remember(parameter: Tensor, undo: ExitStack) -> None:
    undo.callback(torch.no_grad()(parameter.copy_), parameter.detach().clone())


def rescale_activations(job: Job, order: Reading, left: Left, undo: ExitStack) -> dict[str, float]:
    """Solve the point anew for activations behind a norm that cannot be set.

    Returns
    -------
    The q that each of them reads, by its place.
    """
    found: dict[str, float] = {}
    for name in dict.fromkeys(call.name for call in order.of("activation")):
        calls = [call for call in order.of("activation") if call.name == name]
        behind = {call.read.name for call in calls if call.read.kind == "norm"}
        alone = all(call.read.kind == "norm" for call in calls) and len(behind) == 1
        if alone and behind <= set(left.parts):
            q = _given(job, order, behind.pop())
            if not math.isclose(q, job.point.q, rel_tol=_SAME):
                _replace(job.model, job.part(name), _at(job.point, q), undo)
                found |= dict.fromkeys((call.place for call in calls), q)
    return found


def _given(job: Job, order: Reading, name: str) -> float:
    """q behind a norm."""
    norm = job.part(name)
    if not isinstance(norm, NORMS):
        return order.spread[name]
    gamma, beta = (getattr(norm, part, None) for part in ("weight", "bias"))
    numbers = [
        default if value is None else value.detach().double().cpu().numpy()
        for value, default in ((gamma, 1.0), (beta, 0.0))
    ]
    return normed_variance(*numbers)


def _at(point: Point, q: float) -> Point:
    """The same sparsity and clip ratio at another q."""
    if not isinstance(point, CriticalPoint):
        return point
    return solve(point.family, sparsity=point.sparsity, q=q, clip=point.clip, chi1=point.chi1)


def _replace(model: nn.Module, old: nn.Module, point: Point, undo: ExitStack) -> None:
    new = activation(point)
    for parent in list(model.modules()):
        for child, part in list(parent._modules.items()):
            if part is old:
                put(parent, child, new, undo)


def fill_in_order(
    job: Job, order: Reading, vouched: Vouched, left: Left, undo: ExitStack
) -> dict[str, float]:
    """Fill every layer that is not left alone when the sample first comes to it.

    Returns
    -------
    What those read whose gain came from the sample (:func:`~sparsefield.nn.fill.read_moment`).
    """
    calls = {call.name: call for call in reversed(order.of("layer"))}
    todo = {name: job.part(name) for name in calls if name not in left.parts}
    goal, moments = targets(order, job.point), dict[str, float]()
    waiting = set(todo)

    def enter(place: Place, read: Tensor) -> None:
        name, layer = place.name, todo[place.name]
        if name not in waiting:
            return
        waiting.remove(name)
        for parameter in layer.parameters(recurse=False):
            _remember(parameter, undo)
        if name in order.heads:
            _fill_head(job, layer, left)
            return
        moment = job.point.second_moment
        if not is_theory(vouched, calls[name]):
            moment = moments[name] = read_moment(layer, read)  # type: ignore[arg-type]
        _fill_hidden(job, name, layer, goal[name], moment, left)

    with Watch(job.model, todo).passes(_see_nothing, before=enter):
        run(job.model, job.sample)
    return moments


def settle_sums(job: Job, order: Reading, left: Left, undo: ExitStack) -> bool:
    """Give the terms of each sum that an activation reads what its fixed part leaves of q*.

    Only then is it known how much that part brings: what an activation put out, pooled or not.

    Returns
    -------
    Whether anything was changed.
    """
    modules = {call.name: job.part(call.name) for call in order.calls}
    measured, changed = measure(job.model, job.sample, modules), False
    for call, terms in own_terms(order):
        given = sum(measured[name].q for name in terms if name in measured)
        free = call.read.kind == "sum" and not left.parts.keys() & set(terms)
        if not free or given == 0.0 or call.place not in measured:
            continue
        rest = 1.0 - (measured[call.place].q - job.point.q) / given
        if rest > _SPARE and abs(rest - 1.0) > _LEVEL:
            changed = True
            for name in terms:
                _scale(job.part(name), math.sqrt(rest), left, undo)
    return changed


def refit(job: Job, moments: dict[str, float], undo: ExitStack) -> None:
    """Let each layer whose gain came from the sample give again what it gave, in order."""
    layers = {name: job.part(name) for name in moments}
    todo = set(layers)

    def enter(place: Place, read: Tensor) -> None:
        layer = layers[place.name]
        if place.name in todo:
            todo.remove(place.name)
            moment = read_moment(layer, read)  # type: ignore[arg-type]
            factor = math.sqrt(moments[place.name] / moment) if moment else 1.0
            moments[place.name] = moment
            assert isinstance(layer.weight, Tensor)
            _multiply(layer.weight, factor, undo)

    with Watch(job.model, layers).passes(_see_nothing, before=enter):
        run(job.model, job.sample)


def _scale(part: nn.Module, factor: float, left: Left, undo: ExitStack) -> None:
    for parameter in part.parameters(recurse=False):
        if id(parameter) not in left.parameters:
            _multiply(parameter, factor, undo)


@torch.no_grad()
def _multiply(parameter: Tensor, factor: float, undo: ExitStack) -> None:
    _remember(parameter, undo)
    parameter.mul_(factor)


def _see_nothing(call: Call) -> None:
    """Only what is about to be read counts."""


def _fill_head(job: Job, layer: nn.Module, left: Left) -> None:
    bias = None if id(layer.bias) in left.parameters else 0.0
    fill(layer, job.head_gain**2, bias, job.generator)  # type: ignore[arg-type]


def _fill_hidden(
    job: Job, name: str, layer: nn.Module, q: float, moment: float, left: Left
) -> None:
    """E[h^2] = weight_variance * moment + bias_variance = q."""
    point = job.point
    if not 0.0 < moment < math.inf:
        raise InvalidInput(
            f"{name}: reads a mean square of {moment:g} on this sample, and no weights make q = "
            f"{q:g} of it; give other or more inputs"
        )
    wanted: float | None = point.sigma_b2 * q / point.q
    given = wanted if isinstance(layer.bias, Tensor) else 0.0
    if id(layer.bias) in left.parameters:
        wanted, given = None, min(layer.bias.square().mean().item(), q)  # type: ignore[operator]
    fill(layer, (q - given) / moment, wanted, job.generator, even=True)  # type: ignore[arg-type,operator]
