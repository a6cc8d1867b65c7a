"""The rows of sparsify_'s table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from .fill import LAYERS, TRANSPOSED
from .held import owns, parts
from .job import Job, Left
from .measure import Measured
from .order import Reading
from .origin import Seen
from .plan import Vouched, targets
from .table import SparsifyRow

_CLOSE = 0.02  # zeros further than this from the promised share want a reason


@dataclass(frozen=True)
class Told:
    """What was seen and done, step by step.

    Attributes
    ----------
    was
        what each activation was before, by its name.
    failed
        why function calls were not replaced, by the id of the module that makes them.
    from_sample
        layers whose gain came from the sample.
    rescaled
        q of activations behind norms that cannot be set, by place.
    """

    order: Reading
    left: Left
    vouched: Vouched
    was: Mapping[str, str]
    failed: Mapping[int, str]
    from_sample: Collection[str]
    rescaled: Mapping[str, float]
    measured: Mapping[str, Measured]


def rows(job: Job, told: Told) -> Iterator[SparsifyRow]:
    """One a layer, norm and call of an activation, in order; then what was left as it is."""
    shown: set[str] = set()
    for call in told.order.calls:
        if call.kind == "activation":
            yield _activation(job, told, call)
        elif call.name not in shown:
            yield _layer(job, told, call) if call.kind == "layer" else _norm(job, told, call)
        shown.add(call.name)
    yield from _functions(job, told)
    yield from _others(job, shown)


def _kind(job: Job, name: str) -> str:
    return type(job.part(name)).__name__


def _layer(job: Job, told: Told, call: Seen) -> SparsifyRow:
    name, point = call.name, job.point
    note, promised = told.vouched.notes[name], None
    if name in told.order.heads:
        known = call.read.kind == "activation" and call.read.name not in told.vouched.doubts
        promised = job.head_gain**2 * point.second_moment if known and not note else None
    elif name not in told.vouched.doubts:
        promised = targets(told.order, point)[name]
    done = "left" if name in told.left.parts else _filled(told, name)
    bias = told.left.parameters.get(id(getattr(job.part(name), "bias", None)))
    if bias and done != "left":
        note = "; ".join(filter(None, (note, f"its bias is left as it is: {bias}")))
    q = told.measured[name].q if name in told.measured else None
    return SparsifyRow(name, _kind(job, name), done, promised, None, q, None, note)


def _filled(told: Told, name: str) -> str:
    if name in told.order.heads:
        return "head"
    return "gain from the sample" if name in told.from_sample else "theory"


def _norm(job: Job, told: Told, call: Seen) -> SparsifyRow:
    name, is_set = call.name, call.name not in told.left.parts
    alone = any(
        each.read.kind == "norm" and each.read.name == name for each in told.order.of("activation")
    )
    promised = targets(told.order, job.point)[name] if is_set and alone else None
    q = told.measured[name].q if name in told.measured else None
    done = "gamma" if is_set else "left"
    note = told.vouched.notes[name]
    return SparsifyRow(name, _kind(job, name), done, promised, None, q, None, note)


def _activation(job: Job, told: Told, call: Seen) -> SparsifyRow:
    seen = told.measured.get(call.place)
    note = told.vouched.notes[call.place]
    zeros, error = (None, 0.0) if seen is None else (seen.zeros, seen.error)
    off = 0.0 if zeros is None else abs(zeros - job.point.sparsity)
    if seen is not None and off > _CLOSE and (not note or off < 3.0 * error):
        width = f"{seen.units} units: one draw of weights strays by {error:.1%} and more"
        note = "; ".join(filter(None, (note, width)))
    if call.place in told.order.unread:
        note = "; ".join(filter(None, (note, "nothing was seen to read what it puts out")))
    sure = call.place not in told.vouched.doubts
    q = told.rescaled.get(call.place, job.point.q)
    return SparsifyRow(
        call.place,
        _kind(job, call.name),
        f"for {told.was[call.name]}" if call.name in told.was else "kept",
        q if sure else None,
        job.point.sparsity if sure else None,
        None if seen is None else seen.q,
        zeros,
        note,
    )


def _functions(job: Job, told: Told) -> Iterator[SparsifyRow]:
    """Gates, and rectifiers in forwards that cannot be traced."""
    names = job.names()
    for owner, function in dict.fromkeys(told.order.gates):
        name = names.get(id(owner), type(owner).__name__)
        yield SparsifyRow(name, function, "left", unvouched="a gate is not swapped")
    for owner, function in dict.fromkeys(told.order.rectifiers):
        why = told.failed.get(id(owner), "ignored")
        name = names.get(id(owner), type(owner).__name__)
        yield SparsifyRow(name, function, "left", unvouched=f"a function call: {why}")


def _others(job: Job, shown: set[str]) -> Iterator[SparsifyRow]:
    """Parts with parameters that were neither layers nor norms, or were not called."""
    for name, part in parts(job.model, job.ignored):
        if name not in shown and owns(part):
            is_layer = isinstance(part, (*LAYERS, *TRANSPOSED))
            why = "not called as a module on this sample" if is_layer else _why(part)
            yield SparsifyRow(name, type(part).__name__, "left", unvouched=why)
    for name in job.ignored:
        kind = type(job.part(name)).__name__ if name else "its own parameters"
        yield SparsifyRow(name, kind, "left", unvouched="ignored")


def _why(part: nn.Module) -> str:
    if isinstance(part, nn.Embedding):
        return "an embedding is not filled"
    if isinstance(part, nn.MultiheadAttention):
        return "attention is not filled"
    return "holds parameters that sparsify_ does not fill"
