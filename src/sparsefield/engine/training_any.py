"""A model of any class that trains on lists: the layers that read an activation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsefield.errors import InvalidInput

from .anymodel import few, ms, refuse_call
from .calling import Form, arguments, form_of
from .forking import one_thread_if_forked
from .layers import is_layer
from .noticing import Noticing
from .partition import assembled, looked_into, partition
from .phi import phi_of
from .staleness import STALE, Fact, StaleEngine, Versions, facts_of
from .tracing import CannotTrace, OtherShapes, Trace, compiled, is_leaf, traced, unchanged
from .training import TrainingEngine
from .training_piece import TrainingPiece, in_turns
from .twins import twin_of


@dataclass(frozen=True)
class _Way:
    """A traced forward in one mode, and what its names are found on."""

    model: nn.Module
    form: Form
    trace: Trace
    root: nn.Module
    forward: Callable[..., list[Any]]

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        tensors = self.form.tensors_of(args, kwargs)
        if tensors is None:
            return self.model(*args, **kwargs)
        try:
            return self.trace.result(self.forward(self.root, *tensors))
        except OtherShapes:
            return self.model(*args, **kwargs)


class AcceleratedTraining(TrainingEngine):
    """A model of any class that trains on the lists of its active units; see :func:`accelerate`.

    As :class:`TrainingEngine`, over the model's own parameters and modules; all but the layers that
    go on lists run as they are. Its mode is the model's: to set either sets both.

    Attributes
    ----------
    seconds
        of forward and backward on the sample, on lists and as the model is.
    untraced
        why the forward could not be traced, so that its layers notice themselves when they read an
        activation; None: it could.
    """

    _model: nn.Module

    def __init__(self, model: nn.Module, form: Form, tensors: Sequence[Tensor]) -> None:
        nn.Module.__init__(self)
        for shared in ("_modules", "_parameters", "_buffers"):
            self.__dict__[shared] = model.__dict__[shared]
        self.__dict__["_model"] = model  # not a part of it
        self._form, self._example = form, tuple(tensors)
        self._entered = [module for module in model.modules() if not is_leaf(module)]
        self._pieces: dict[Any, TrainingPiece] = {}
        self._ways: dict[tuple[bool, ...], _Way | None] = {}
        self._reasons: dict[str, str] = {}
        self._noticing: Noticing | None = None
        self.steps, self.runs_dense, self.seconds = (), {}, (0.0, 0.0)
        self.untraced: str | None = None
        self._on_lists = True
        self._versions = Versions((), _copied(model, self._read()))

    def _read(self) -> nn.Module:
        """Find the pieces; a twin that has made a pass."""
        try:
            return self._traced_anew().trace.root
        except CannotTrace as error:
            self.untraced, self._noticing = str(error), Noticing(self._model)
            self._pieces = dict(self._noticing.pieces)
            self._reasons = self._noticing.reasons
            twin = twin_of(self._model)
            with unchanged(self._model), torch.no_grad():
                args, kwargs = self._filled()
                twin(*args, **kwargs)
            return twin

    @property
    def training(self) -> bool:
        """The model's mode."""
        return self._model.training if "_model" in self.__dict__ else True

    @training.setter
    def training(self, mode: bool) -> None:
        if "_model" in self.__dict__:
            self._model.training = mode

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs."""
        if self._versions.changed():
            raise StaleEngine(STALE)
        args, kwargs = arguments(self._model, args, kwargs)
        way = self._way() if self._on_lists else None
        if way is None:
            return self._model(*args, **kwargs)
        if torch.is_autocast_enabled("cpu"):
            raise InvalidInput("autocast: training on lists is float32 alone; leave autocast")
        one_thread_if_forked()
        return way(args, kwargs)

    def _way(self) -> _Way | Noticing | None:
        """The forward in the mode that its modules are in; None where it cannot be traced in it."""
        if self._noticing is not None:
            return self._noticing
        modes = self._modes
        if modes not in self._ways:
            try:
                self._traced_anew()
            except CannotTrace:
                self._ways[modes] = None
        return self._ways[modes]

    @property
    def _modes(self) -> tuple[bool, ...]:
        """Of the modules whose forward a trace has been through."""
        return tuple(module.training for module in self._entered)

    def _traced_anew(self) -> _Way:
        trace = traced(twin_of(self._model), self._form, self._example)
        way = self._ways[self._modes] = self._way_of(trace)
        return way

    def _way_of(self, trace: Trace, *, every: bool = False) -> _Way:
        """A trace with those of its pieces that are on lists, or every one."""
        parted = partition(trace, training=True)
        self._reasons |= parted.reasons
        called = {}
        root = _live(self._model, trace.root)
        for index, run in enumerate(parted.runs):
            key = tuple((p.name, run.chain.phi_read(i)) for i, p in enumerate(run.chain.products))
            piece = self._pieces.setdefault(key, TrainingPiece(run.chain, run.steps))
            if every or piece.segment is not None:
                called[f"lists_{index}"] = run
                vars(root)[f"lists_{index}"] = piece
        ends = looked_into(trace, called.values())
        for name, run in called.items():
            vars(root)[name].contiguous = run.nodes[-1] in ends
        return _Way(self._model, self._form, trace, root, compiled(assembled(trace, called)))

    def measure(self) -> None:
        """Measure forward and backward on the sample: of the layers, and of the whole."""
        for piece in self._pieces.values():
            piece.measuring, piece.seconds = True, None
        way = self._way()
        assert way is not None
        every = self._way_of(way.trace, every=True) if isinstance(way, _Way) else way
        with unchanged(self._model), torch.enable_grad():
            every(*self._filled())
        for piece in self._pieces.values():
            piece.measuring = False
        gaining = [piece for piece in self._pieces.values() if piece.gains]
        if gaining:
            turn = partial(self._turn, gaining)
            lists, as_it_was = self._step(self), self._step(self._model)
            with unchanged(self._model), torch.enable_grad():
                self.seconds = in_turns(turn, lists, as_it_was)
        self._turn(gaining, self.seconds[0] < self.seconds[1])

    def _turn(self, pieces: Sequence[TrainingPiece], on_lists: bool) -> None:
        self._settle(pieces if on_lists else [])

    def _settle(self, pieces: Sequence[TrainingPiece]) -> None:
        """Run these on lists."""
        for piece in self._pieces.values():
            piece.on_lists(piece in pieces)
        self._on_lists = bool(pieces)
        for modes, way in [*self._ways.items()]:
            if way is not None:
                self._ways[modes] = self._way_of(way.trace)
        in_pieces = {name for piece in pieces for name in piece.names}
        modules = [(name, m) for name, m in self._model.named_modules() if is_leaf(m)]
        dense = [module for name, module in modules if name not in in_pieces]
        self.steps = (*(p.segment for p in pieces if p.segment is not None), *dense)
        layers = (name for name, module in modules if is_layer(module) and name not in in_pieces)
        self.runs_dense = {name: self._reason(name) for name in layers}

    def _reason(self, name: str) -> str:
        """Why a layer runs as it is."""
        if any(name in piece.names and piece.seconds for piece in self._pieces.values()):
            return "by measurement it is no faster on lists"
        return self._reasons.get(name, "it reads no activation that is known here")

    def _filled(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call that the sample is; a forward may write into its tensors."""
        return self._form.filled([tensor.detach().clone() for tensor in self._example])

    def _step(self, module: nn.Module) -> Callable[[], object]:
        """A forward and backward pass on the sample, which leaves nothing behind."""
        parameters = [p for p in self.parameters() if p.requires_grad]

        def step() -> object:
            args, kwargs = self._filled()
            leaves = pytree.tree_leaves(module(*args, **kwargs))
            sums = [x.sum() for x in leaves if isinstance(x, Tensor) and x.requires_grad]
            return torch.autograd.grad(sums, parameters, allow_unused=True)

        return step

    def warnings(self) -> Iterator[str]:
        """What does not gain, and why."""
        if self.untraced is not None:
            yield f"the forward was not traced, its layers notice what they read: {self.untraced}"
        if not self._on_lists:
            name = type(self._model).__name__
            yield f"{name} trains as it was: by measurement lists are no faster"

    def __repr__(self) -> str:
        lists, as_it_was = map(ms, self.seconds)
        how = f"{lists} on lists, {as_it_was} as it was"
        lines = [f"forward and backward: {how}", f"on lists: {few(self.on_lists, 99)}"]
        lines += [*self.warnings(), *(f"{n} runs dense: {r}" for n, r in self.runs_dense.items())]
        others: dict[str, list[str]] = {}
        for name, module in self._model.named_modules():
            if is_leaf(module) and module._parameters and not is_layer(module):
                others.setdefault(type(module).__name__, []).append(name)
        lines += [f"as it is, {kind}: {few(names)}" for kind, names in others.items()]
        return "\n".join(["AcceleratedTraining", *(f"  {line}" for line in lines)])

    def __reduce__(self) -> tuple[Any, ...]:
        settled = [key for key, piece in self._pieces.items() if piece.segment is not None]
        return _again, (self._model, self._form, self._example, settled, self.seconds)


def _again(
    model: nn.Module, form: Form, tensors: Sequence[Tensor], settled: list[Any], seconds: Any
) -> AcceleratedTraining:
    """A copied or pickled model, with the model that it trains."""
    engine = AcceleratedTraining(model, form, tensors)
    engine.seconds = seconds
    engine._settle([piece for key, piece in engine._pieces.items() if key in settled])
    return engine


def train_any(
    model: nn.Module, call: tuple[tuple[Any, ...], dict[str, Any]]
) -> AcceleratedTraining:
    """:func:`accelerate` with ``train=True`` for a model that is no chain the engine knows."""
    form, tensors = form_of(*arguments(model, *call))
    with unchanged(model):
        refuse_call(model, form, tensors)
    engine = AcceleratedTraining(model, form, tensors)
    if not engine._pieces:
        reasons = "".join(f"; {name}: {reason}" for name, reason in engine._reasons.items())
        name = type(model).__name__
        raise InvalidInput(f"{name}: holds no layer that reads a sparse activation{reasons}")
    engine.measure()
    for line in engine.warnings():
        warnings.warn(f"accelerate: {line}", stacklevel=3)
    return engine


def _live(model: nn.Module, traced_root: nn.Module) -> nn.Module:
    """What a graph's names are found on: the model's own modules, and the trace's constants."""
    root: nn.Module = object.__new__(type(model))
    root.__dict__.update(model.__dict__)
    known = vars(model)
    root.__dict__.update({n: value for n, value in vars(traced_root).items() if n not in known})
    return root


def _copied(model: nn.Module, twin: nn.Module) -> Iterator[Fact]:
    """The facts that a trace holds; what runs as it is looks up its own."""
    for fact in facts_of(model, twin):
        module = fact.of
        live = isinstance(module, nn.Module) and is_leaf(module)
        if not live or phi_of(module) is not None or is_layer(module):
            yield fact
