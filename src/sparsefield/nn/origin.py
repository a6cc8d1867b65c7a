"""Where a tensor comes from: what made it, whose variances add up in it, who has read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_KEEPING = """
view viewas reshape reshapeas flatten unflatten transpose swapaxes swapdims permute movedim
moveaxis squeeze unsqueeze contiguous clone detach alias to type typeas float double half
bfloat16 cpu cuda get getitem chunk split tensorsplit splitwithsizes unbind select narrow expand
expandas repeat tile roll flip indexselect t adjoint identity dropout dropout1d dropout2d
dropout3d alphadropout featuredropout featurealphadropout requiresgrad pixelshuffle
pixelunshuffle channelshuffle unfold broadcastto positive
"""
_KEEPS = frozenset(_KEEPING.split())
_KINDS = {
    "sum": "add radd iadd sub rsub isub subtract addcmul",
    "concatenation": "cat concat concatenate stack hstack vstack dstack setitem",
    "pooling": "mean sum amax amin max min logsumexp nanmean median std var",
    "product": "mul rmul imul multiply div truediv rtruediv itruediv divide neg matmul rmatmul bmm "
    "baddbmm einsum outer dot mm mv linear bilinear conv1d conv2d conv3d convtranspose1d "
    "convtranspose2d convtranspose3d",
}
_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_BY_WORD = {
    "pool": "pooling",
    "norm": "norm",
    "attention": "attention",
    "embedding": "embedding",
    "pad": "padding",
    "interpolate": "resampling",
    "upsample": "resampling",
}
_WORDS = {
    "input": "the input",
    "sum": "a sum",
    "concatenation": "a concatenation",
    "pooling": "pooled values",
    "product": "a product",
    "embedding": "an embedding",
    "padding": "padded values",
    "resampling": "resampled values",
    "ignored": "what an ignored part made",
    "parameter": "a parameter",
    "constant": "a constant",
}


@dataclass(frozen=True)
class Origin:
    """What made a tensor.

    Attributes
    ----------
    kind
        ``input``, ``layer``, ``activation``, ``norm``, ``skip``, ``sum``, ``ignored``, ...
    name
        of the module that made it, if it was one.
    terms
        layers and norms whose variances add up in it.
    layers
        the layers that it comes from with no other layer and no activation in between.
    """

    kind: str
    name: str = ""
    terms: tuple[str, ...] = ()
    layers: frozenset[str] = frozenset()

    @property
    def said(self) -> str:
        """In words: ``a sum``, ``layer up``."""
        if self.name:
            return f"{self.kind} {self.name}"
        return _WORDS.get(self.kind, self.kind)


INPUT = Origin("input")
SPARSE_SKIP = "a skip past an activation"


def after(function: str, read: Sequence[Origin]) -> Origin:
    """What a function of these tensors makes; ``function`` is its name or that of a module's class.

    >>> x = Origin("layer", "up", ("up",))
    >>> after("flatten", [x]).kind, after("add", [x, x]).terms, after("MaxPool2d", [x]).kind
    ('layer', ('up', 'up'), 'pooling')
    """
    if not read:
        return Origin("constant")
    name = function.replace("_", "").lower()
    if name in _KEEPS:
        return read[0]
    kind = "ignored" if any(each.kind == "ignored" for each in read) else _kind(name)
    layers = frozenset[str]().union(*(each.layers for each in read))
    adds = kind == "sum" or (kind == "product" and len(read) == 1)
    terms = tuple(term for each in read for term in each.terms) if adds else ()
    return Origin(kind, "", terms, layers)


def _kind(name: str) -> str:
    found = (kind for word, kind in _BY_WORD.items() if word in name)
    return _BY_NAME.get(name) or next(found, name)


@dataclass(frozen=True)
class Seen:
    """One call of a layer, a norm or an activation.

    Attributes
    ----------
    kind
        ``layer``, ``norm`` or ``activation``.
    name
        of the module.
    place
        name and turn: ``relu``, ``relu#2``.
    read
        where its input comes from.
    """

    kind: str
    name: str
    place: str
    read: Origin


@dataclass
class Order:
    """Calls as they are made, and the layers whose output something has read."""

    calls: list[Seen] = field(default_factory=list)
    followed: set[str] = field(default_factory=set)

    def layer(self, name: str, place: str, read: Origin) -> Origin:
        """A layer is called."""
        self.follow(read)
        self.calls.append(Seen("layer", name, place, read))
        return Origin("layer", name, (name,), frozenset([name]))

    def activation(self, name: str, place: str, read: Origin) -> Origin:
        """An activation of the point is called."""
        self.follow(read)
        self.calls.append(Seen("activation", name, place, read))
        return Origin("activation", place)

    def norm(self, name: str, place: str, read: Origin) -> Origin:
        """A norm is called; it sets the variance, whatever it reads."""
        self.calls.append(Seen("norm", name, place, read))
        return Origin("norm", name, (name,), read.layers)

    def follow(self, read: Origin) -> None:
        """Something with weights of its own, or an activation, reads this."""
        self.followed |= read.layers

    def of(self, kind: str) -> list[Seen]:
        """The calls of one kind, in order."""
        return [call for call in self.calls if call.kind == kind]

    @property
    def heads(self) -> set[str]:
        """Layers whose output meets no activation and no other layer."""
        return {call.name for call in self.of("layer")} - self.followed


def skipped(read: Origin, update: Origin, total: Origin) -> Origin:
    """What the fixed-point-keeping skip makes of these two; ``total`` is their plain sum.

    Its variance is q* if the block's is, and if what it carries is as its form wants it: a
    pre-activation of variance q*, or what an activation put out.
    """
    if update.kind not in ("layer", "skip") or read.kind not in ("layer", "skip", "activation"):
        return total
    return replace(total, kind=SPARSE_SKIP if read.kind == "activation" else "skip")
