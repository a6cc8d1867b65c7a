"""What every part of a model is to put out, and where theory vouches for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from sparsefield.theory import Point

from .fill import TRANSPOSED, loses_at_edges
from .origin import SPARSE_SKIP, Order, Seen

_SPARE = 0.05  # of q*: less than this is not worth giving to the terms of a sum


def targets(order: Order, point: Point) -> dict[str, float]:
    """Mean square that each layer and norm is to put out, so that activations read q*.

    The terms of a sum that an activation reads share what the earlier ones leave of q*. What is
    read only beside others, in a concatenation, is to be as large as what an activation puts out.
    """
    wanted: dict[str, float] = {}
    for call, free in own_terms(order):
        left = point.q - sum(wanted.get(term, 0.0) for term in call.read.terms)
        shares = call.read.kind == "sum" and left > _SPARE * point.q
        wanted |= dict.fromkeys(free, left / len(free) if shares and free else point.q)
    for call in order.of("layer"):
        if call.read.kind == "concatenation":
            beside = call.read.layers - set(wanted)
            wanted |= dict.fromkeys(beside, point.second_moment)
    names = {call.name for call in order.calls if call.kind != "activation"}
    return {name: wanted.get(name, point.q) for name in names}


def own_terms(order: Order) -> Iterator[tuple[Seen, list[str]]]:
    """Each call of an activation, with the terms of what it reads that none before it has read."""
    known: set[str] = set()
    for call in order.of("activation"):
        yield call, [term for term in dict.fromkeys(call.read.terms) if term not in known]
        known |= set(call.read.terms)


@dataclass(frozen=True)
class Vouched:
    """Where theory holds.

    Attributes
    ----------
    notes
        what it does not cover, by the name of a layer or norm and the place of an activation.
    doubts
        those whose zeros or variance it does not promise, with the place where that begins.
    """

    notes: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def doubt(self, key: str, reason: str) -> None:
        """Theory ends here."""
        self.doubts[key] = (key, reason)
        self.notes[key] = reason

    def inherit(self, key: str, sources: Iterable[str]) -> None:
        """Theory ended at a source, if it did."""
        source = next((name for name in sources if name in self.doubts), None)
        if source is not None:
            place, reason = self.doubts[key] = self.doubts[source]
            self.notes[key] = f"behind {place}: {reason}"


def vouched(
    order: Order, model: nn.Module, left: Mapping[str, str], rescaled: Iterable[str]
) -> Vouched:
    """Follow the theory through the order of execution.

    Parameters
    ----------
    order
        what reads what.
    model
        whose layers they are.
    left
        layers and norms that are left as they are, with the reason.
    rescaled
        places of activations that were solved at another q, behind a norm that cannot be set.
    """
    seen, scaled = Vouched(), set(rescaled)
    for call in order.calls:
        if call.kind == "layer":
            _layer(seen, order, call, model.get_submodule(call.name), left, scaled)
        elif call.kind == "activation":
            _activation(seen, call)
        else:
            seen.notes[call.name] = left.get(call.name, "")
    return seen


def _layer(
    seen: Vouched,
    order: Order,
    call: Seen,
    layer: nn.Module,
    left: Mapping[str, str],
    scaled: set[str],
) -> None:
    key, read = call.name, call.read
    if key in seen.notes:  # called before
        return
    if key in left:
        seen.doubt(key, left[key])
    elif read.kind == "layer":
        seen.doubt(key, f"a linear bottleneck: reads {read.said} with no activation between")
    elif read.kind not in ("activation", "input", "norm"):
        seen.doubt(key, f"reads {read.said}")
    elif isinstance(layer, TRANSPOSED):
        seen.doubt(key, "a transposed convolution: not every output has as many inputs")
    elif loses_at_edges(layer):
        seen.doubt(key, "pads with zeros: less variance at the edges")
    elif read.kind == "activation":
        seen.notes[key] = f"reads {read.said}, solved at another q" if read.name in scaled else ""
        seen.inherit(key, [read.name])
    else:
        head = key in order.heads
        seen.notes[key] = f"reads {read.said}" + ("" if head else ": gain set from the sample")


def _activation(seen: Vouched, call: Seen) -> None:
    key, read = call.place, call.read
    if read.kind == "norm":
        seen.notes[key] = f"behind {read.said}: the zeros are those of a Gaussian, if it reads one"
    elif read.kind in ("layer", "skip"):
        seen.notes[key] = ""
        seen.inherit(key, read.terms)
    elif read.kind == SPARSE_SKIP:
        seen.doubt(key, f"reads {read.said}, whose mean is not zero")
    else:
        seen.doubt(key, f"reads {read.said}")


def is_theory(seen: Vouched, call: Seen) -> bool:
    """Whether a layer is filled by theory alone: it reads an activation that theory vouches for."""
    return call.read.kind == "activation" and not seen.notes[call.name]
