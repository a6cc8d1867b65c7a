"""What is to be made sparse, and which of its parts are left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator, nn

from sparsefield.theory import Point

from .fill import is_plain
from .held import held, parts, under
from .order import NORMS, Reading, Sample
from .refusal import Problem

COMPUTED = "its weight is computed from other parameters"


@dataclass(frozen=True)
class Job:
    """A model, the point that it is to be filled for, and the sample that it runs."""

    model: nn.Module
    point: Point
    sample: Sample
    ignored: Sequence[str]
    head_gain: float
    generator: Generator | None

    def part(self, name: str) -> nn.Module:
        """The part of this name."""
        return self.model.get_submodule(name)

    def names(self) -> dict[int, str]:
        """Name of every part that is not ignored, by its id."""
        return {id(part): name for name, part in parts(self.model, self.ignored)}


@dataclass(frozen=True)
class Left:
    """What is left as it is.

    Attributes
    ----------
    parts
        layers and norms, with the reason.
    parameters
        ids of parameters, with the reason: the bias of a layer may be left alone.
    """

    parts: dict[str, str]
    parameters: dict[int, str]


def left_alone(job: Job, order: Reading) -> Left:
    """Layers and norms that cannot be, or are not to be, filled."""
    called = dict.fromkeys(call.name for call in order.calls if call.kind != "activation")
    names, found = set(job.names().values()), dict[str, str]()
    kept = held(job.model, [name for name in called if name in names])
    before = {term for call in order.of("activation") for term in call.read.terms}
    reading = {call.name for call in order.of("layer") if call.read.kind == "attention"}
    projections = order.attended | reading
    for name in called:
        part = job.part(name)
        is_norm = any(call.name == name for call in order.of("norm"))
        reason = "ignored" if name not in names else ""
        reason = reason or (_norm(part, name in before) if is_norm else _layer(part))
        if name in projections - before:
            reason = reason or "a projection of attention is not filled"
        reason = reason or kept.get(id(part.weight), "")
        if is_norm and id(getattr(part, "bias", None)) in kept:
            reason = reason or kept[id(part.bias)]
        if reason:
            found[name] = reason
    return Left(found, kept)


def _layer(layer: nn.Module) -> str:
    return "" if is_plain(layer) else COMPUTED


def _norm(norm: nn.Module, before_activation: bool) -> str:
    if not before_activation:
        return "no activation reads it directly"
    if not isinstance(norm, NORMS):
        return "a norm of a foreign class"
    return "" if getattr(norm, "weight", None) is not None else "has no gain"


def problems(job: Job, order: Reading, left: Left) -> list[Problem]:
    """Why this model cannot be made sparse as it is."""
    found = [] if order.of("activation") else [_NOTHING]
    normed = {name for call in order.of("norm") for name in call.read.layers}
    for call in order.of("layer"):
        bare = getattr(job.part(call.name), "bias", None) is None and call.name not in left.parts
        inside = call.name not in normed | order.heads
        if bare and inside and call.read.kind == "activation" and _repels(job.point):
            found.append(_without_bias(call.name, job.point))
    for call in order.of("activation"):
        read = call.read
        stranger = read.name and read.kind[:1].isupper() and not under(read.name, job.ignored)
        computed = left.parts.get(read.name) == COMPUTED
        if stranger or computed:
            kind = type(job.part(read.name)).__name__
            why = COMPUTED if computed else "sparsify_ does not know it"
            text = f"{call.place}: reads {read.name}, a {kind} that cannot be filled ({why})"
            found.append(Problem(text, read.name))
    return found


_NOTHING = Problem(
    "the sample meets no rectifier (ReLU, GELU, ...) and no activation of the point: nothing here "
    "can be made sparse"
)


def _repels(point: Point) -> bool:
    """Whether q* is no stable fixed point with all of the variance in the weights."""
    alone = point.q - point.sigma_b2  # what the weights give
    return point.sigma_b2 > 0.0 and point.slope * point.q > alone


def _without_bias(name: str, point: Point) -> Problem:
    factor = point.slope * point.q / (point.q - point.sigma_b2)
    return Problem(
        f"{name}: has no bias and no norm behind it; with all of the variance in its weights q* "
        f"would repel (V' = {factor:.3g}, must be at most 1); build it with bias=True",
        name,
    )
