"""Whether a model is still what an engine was made of: weights, constants, and modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import Activation

from .parts import NOTHING
from .products import Product

_version = attrgetter("_version")
_SOME = 8  # weights that a glimpse takes in
_FEW, _MORE = 4, 16  # facts that it takes in, and with all versions
_SHARE = 500  # all facts are looked at where that takes a part of so many of the time since
_SOON = 2e-3  # seconds
_PLAIN = (bool, int, float, str, type(None))
STALE = "the model has changed since accelerate(); call it again on it"

_Place = tuple[Mapping[str, Tensor | None], str]
Thing = TypeVar("Thing")


class StaleEngine(InvalidInput):
    """The model is not what the engine was made of any more."""


class Fact(NamedTuple):
    """Something of a model's modules that was copied, and how to read it again.

    Attributes
    ----------
    name
        of the module.
    read, of
        what gives the value, from what.
    """

    name: str
    read: Callable[[Any], Any]
    of: Any


def facts_of(model: nn.Module, ran: nn.Module | None = None) -> Iterator[Fact]:
    """What an engine reads of a model besides tensors: its module tree, and constants.

    Of modules of your own there are those constants that a pass does not change, where ``ran`` is
    a twin of the model that has made one; without it none.
    """
    twins = {} if ran is None else dict(ran.named_modules())
    for name, module in model.named_modules():
        if module._modules:
            yield Fact(name, _children, module._modules)
        constants = _constants(module, twins.get(name))
        if constants:
            yield Fact(name, attrgetter(*constants), module)


def _children(modules: Mapping[str, nn.Module | None]) -> list[nn.Module | None]:
    return list(modules.values())


def _constants(module: nn.Module, ran: nn.Module | None) -> list[str]:
    """Names of the attributes whose values an engine has copied."""
    if isinstance(module, Activation):
        return list(module.constants)
    if type(module) in (nn.Linear, *NOTHING):
        return []
    own = type(module).__module__.split(".")[0] not in ("torch", "sparsefield")
    if own and ran is None:
        return []
    after = module if ran is None else ran
    return [
        name
        for name, value in vars(module).items()
        if _plain(value)
        and name != "training"
        and not name.startswith("_")
        and (not own or vars(after).get(name) == value)
    ]


class Versions:
    """Looks for changes in a model.

    In-place changes, an optimiser's step say, are seen by the tensors' version counters; another
    tensor in a layer's place (``load_state_dict(assign=True)``, ``model.to(...)``) by its address.

    Parameters
    ----------
    products
        whose weights were copied.
    facts
        of the model's modules.
    """

    def __init__(self, products: Iterable[Product], facts: Iterable[Fact] = ()) -> None:
        places = [place for product in products for place in _places(product)]
        held = [tensor for d, name in places if (tensor := d.get(name)) is not None]
        tensors = [tensor for tensor in held if not tensor.is_inference()]  # those have no versions
        known = [fact for fact in facts if _same(fact.read(fact.of), fact.read(fact.of))]
        self._all = _Look(tensors, places, known)
        some, here = _cut(tensors, _SOME), _cut(places, _SOME)
        few, more = _cut(known, _FEW), _cut(known, _MORE)
        turns = range(max(len(some), len(here), len(few)))
        self._turn = 0
        self._turns = [_Look(_at(some, i), _at(here, i), _at(few, i)) for i in turns]
        self._fuller = [_Look(tensors, _at(here, i), _at(more, i)) for i in turns]
        self._facts = _Look([], [], known)
        start = perf_counter()
        self._facts.differs()
        self._due = self._last = perf_counter()
        self._rest = _SHARE * (self._due - start)

    def changed(self) -> bool:
        """Look at all."""
        return self._all.differs()

    def glimpsed(self, *, versions: bool, rarely: bool = False) -> bool:
        """Look at some, and at all ``versions`` if asked to; in turn, so that calls see all.

        All facts are looked at as well, as often as that takes hardly any of the time. Rarely: not
        soon after the last time, which is for what computes with the model's own weights.
        """
        now = perf_counter()
        if rarely and now < self._last + _SOON:
            return False
        self._last = now
        turns = self._fuller if versions else self._turns
        self._turn = turn = (self._turn + 1) % len(turns)
        if now < self._due:
            return turns[turn].differs()
        self._due = now + self._rest
        return turns[turn].differs() or self._facts.differs()


def _places(product: Product) -> Iterator[_Place]:
    """Where the tensors are that a product was made of."""
    layer, norm = product.layer, product.norm
    held: Mapping[str, Tensor | None] = (
        {"weight": product.weight, "bias": product.bias} if layer is None else layer._parameters
    )
    yield held, "weight"
    yield held, "bias"
    if norm is not None:
        yield norm._parameters, "weight"
        yield norm._parameters, "bias"
        yield norm._buffers, "running_mean"
        yield norm._buffers, "running_var"


class _Look:
    """Some tensors, places and facts, as they were."""

    def __init__(
        self, tensors: Sequence[Tensor], places: Sequence[_Place], facts: Sequence[Any]
    ) -> None:
        self._tensors, self._versions = tensors, list(map(_version, tensors))
        self._places, self._addresses = places, list(map(_address, places))
        self._facts = [(read, of) for _, read, of in facts]
        self._values = self._read()

    def differs(self) -> bool:
        """Whether something is not as it was."""
        return (
            list(map(_version, self._tensors)) != self._versions
            or list(map(_address, self._places)) != self._addresses
            or self._read() != self._values
        )

    def _read(self) -> list[Any]:
        try:
            return [read(of) for read, of in self._facts]
        except AttributeError:
            return [AttributeError]


def _address(place: _Place) -> int:
    parameters, name = place
    tensor = parameters.get(name)
    return 0 if tensor is None else tensor.data_ptr()


def _plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_plain, value)))


def _same(one: Any, other: Any) -> bool:
    """Not so for a NaN that is made anew at each look."""
    return bool(one == other)


def _at(parts: Sequence[Thing], turn: int) -> Thing:
    return parts[turn % len(parts)]


def _cut(things: Sequence[Thing], size: int) -> list[Sequence[Thing]]:
    return [things[at : at + size] for at in range(0, len(things), size)] or [[]]
