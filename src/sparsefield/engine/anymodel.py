"""A model of any class: its runs of layers on lists, all else as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from . import dispatch
from .bodies import Body, Replaced, Traced
from .calling import Form, arguments, batches_in, cut, form_of, length
from .dispatch import backend
from .engine import SMALL
from .forking import one_thread_if_forked
from .layer_choice import Choice, LayerChoice, choice_by_name, choices_of, force
from .layers import is_layer
from .native import Storage, kernels
from .piece import Piece, nearest_size
from .staleness import STALE, StaleEngine, Versions, facts_of
from .tracing import CannotTrace, in_one_line, traced
from .twins import twin_of

_NAMED = 8  # modules of a kind that a line names


class Accelerated(nn.Module):
    """A model of any class that skips the zeros of its activations; see :func:`accelerate`.

    It is called as the model is, and gives the model's outputs in evaluation mode, without a graph
    for gradients. Layers that follow one another run on lists where that is faster, by
    measurement; all else runs as it is. Where the whole is not faster, it is the model as it was.
    Parameters and buffers are the model's own, and go by the same names.

    Attributes
    ----------
    backend
        what runs the sparse products.
    storage
        the format in which the kernels hold the weights.
    untraced
        why the forward could not be traced as a whole, so that its parts were, or its layers were
        replaced one by one; None: it could.
    times
        by batch size, seconds of a call on lists and of the model as it was.
    """

    _model: nn.Module
    _plain: nn.Module

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        tensors: Sequence[Tensor],
        storage: Storage = "float32",
    ) -> None:
        super().__init__()
        for shared in ("_modules", "_parameters", "_buffers"):
            self.__dict__[shared] = model.__dict__[shared]
        plain, root = twin_of(model, evaluating=True), twin_of(model, evaluating=True)
        self.__dict__.update(training=False, _model=model, _plain=plain)  # none is a part of it
        self.backend, self.storage = backend(), storage
        self.times: dict[int, tuple[float, float]] = {}
        self._form, self._example, self._sparse = form, tuple(tensors), False
        self._body, self.untraced = _body(root, form, tensors, plain, storage)
        self._kept: list[str] = []
        self._gaining: dict[int, bool] = {}
        products = (p for piece in self.pieces.values() for p in piece.runner.chain.products)
        self._versions = Versions(products, facts_of(model, root))

    @property
    def pieces(self) -> dict[str, Piece]:
        """Runs of layers that can go on lists, by the names of their first and last layer."""
        return self._body.pieces

    def train(self, mode: bool = True) -> Accelerated:
        """Nothing: it runs in evaluation mode, whatever the model is set to."""
        return self

    def check(self) -> None:
        """Whether the model is still as it was, see :meth:`Engine.check`.

        Raises
        ------
        StaleEngine
            it is not.
        """
        if self._versions.changed():
            raise StaleEngine(STALE)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs."""
        one_thread_if_forked()
        args, kwargs = arguments(self._model, args, kwargs)
        batch = length((*args, *kwargs.values()))
        gains = self.gains(batch)
        if self._versions.glimpsed(versions=batch >= SMALL, rarely=not gains):
            raise StaleEngine(STALE)
        with torch.no_grad():
            if gains:
                return self._body(args, kwargs)
            return self._plain(*args, **kwargs)

    def gains(self, batch: int) -> bool:
        """Whether calls with such a batch are faster so, by the times at the nearest measured.

        They are taken to be where a layer was told to run sparse.
        """
        if batch not in self._gaining:
            lists, as_it_was = self.times[nearest_size(self.times, batch)] if self.times else (1, 0)
            self._gaining[batch] = self._sparse or (bool(self._kept) and lists < as_it_was)
        return self._gaining[batch]

    def measure(self, tensors: Sequence[Tensor], batches: Iterable[int] | None = None) -> None:
        """Measure which runs of layers gain, and whether the whole does.

        Parameters
        ----------
        tensors
            of a call. Those whose first axis is as long as that of the first are batches.
        batches
            sizes to measure at: 1, if the model can be called so, and that of the tensors.
        """
        one_thread_if_forked()
        calls = {}
        with torch.no_grad():
            for batch in batches_in(tensors, batches):
                args, kwargs = self._form.filled(cut(tensors, batch))
                if batches is not None or batch == length(tensors) or self._takes(args, kwargs):
                    calls[batch] = args, kwargs
            self._measure_pieces(calls.values())
            self._keep()
            self._measure_whole(calls)

    def _takes(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether the model can be called with another batch than it was traced with."""
        try:
            self._plain(*args, **kwargs)
        except Exception:  # a forward may do anything
            return False
        return True

    def _measure_pieces(self, calls: Iterable[Any]) -> None:
        known: dict[Any, Any] = {}
        for piece in self.pieces.values():
            piece.forget()
            piece.measuring = known
        self._body.keep(self.pieces)
        for args, kwargs in calls:
            self._body(args, kwargs)
        for piece in self.pieces.values():
            piece.measuring = None

    def _measure_whole(self, calls: Mapping[int, Any]) -> None:
        self.times, self._gaining = {}, {}
        for batch, (args, kwargs) in calls.items():
            if self._kept:
                lists = partial(self._body, args, kwargs)
                as_it_was = partial(self._plain, *args, **kwargs)
                taken = dispatch.seconds({"lists": lists, "as it was": as_it_was})
                self.times[batch] = taken["lists"], taken["as it was"]

    def _keep(self) -> None:
        self._gaining = {}
        self._kept = [name for name, piece in self.pieces.items() if piece.gains_somewhere]
        self._body.keep(self._kept)
        for name, piece in self.pieces.items():
            if name not in self._kept:
                piece.runner.release()

    def override(self, choice: Choice | Mapping[str, Choice]) -> None:
        """Force layers to run sparse or dense, all or by name; ``measure`` leaves them."""
        by_name = choice_by_name(choice, [piece.runner for piece in self.pieces.values()])
        for piece in self.pieces.values():
            force(piece.runner, by_name)
            asked = {by_name.get(p.name, "measure") for p in piece.runner.chain.products}
            piece.asked = "sparse" if "sparse" in asked else "measure"
            if asked == {"dense"}:
                piece.asked = "dense"
        self._sparse = "sparse" in by_name.values()
        self._keep()

    @property
    def layers(self) -> tuple[LayerChoice, ...]:
        """How each layer that can go on lists runs, at each number of rows that was measured."""
        return tuple(
            choice
            if piece.gains(choice.batch)
            else LayerChoice(choice.name, choice.batch, 0.0, choice.density, "torch")
            for piece in self.pieces.values()
            for choice in choices_of(piece.runner)
        )

    @property
    def runs_dense(self) -> dict[str, str]:
        """By name, why layers and other modules with parameters run as they are."""
        found = dict(self._body.reasons)
        no_faster = (name for name in self.pieces if name not in self._kept)
        found |= dict.fromkeys(no_faster, "by measurement it is no faster on lists")
        in_pieces = {p.name for piece in self.pieces.values() for p in piece.runner.chain.products}
        modules = dict(self.named_modules())
        for kind, names in self._body.left().items():
            for name in names:
                if name in modules and modules[name]._parameters and name not in in_pieces:
                    found.setdefault(name, f"{kind} is none of the layers it knows")
        return found

    def __repr__(self) -> str:
        threads = torch.get_num_threads()
        head = f"Accelerated({self.backend}, {threads} threads, {self.storage} weights)"
        return "\n".join([head, *(f"  {line}" for line in self._lines())])

    def _lines(self) -> Iterator[str]:
        for batch, (lists, as_it_was) in self.times.items():
            runs = "on lists" if self.gains(batch) else "as it was"
            yield f"batch {batch}: runs {runs}; {ms(lists)} on lists, {ms(as_it_was)} as it was"
        for name, piece in self.pieces.items():
            for rows, (lists, as_it_was) in piece.times.items():
                if piece.gains(rows):
                    yield f"{name}, {rows} rows: on lists, {ms(lists)} for {ms(as_it_was)}"
        yield from self.warnings()
        layers = {name for name, module in self.named_modules() if is_layer(module)}
        for name, reason in self.runs_dense.items():
            if name in layers or name in self.pieces:
                yield f"{name} runs dense: {reason}"
        for kind, names in self._body.left().items():
            yield f"as it is, {kind}: {few(names)}"

    def warnings(self) -> Iterator[str]:
        """What the model does not gain, and why."""
        if self.untraced is not None:
            how = "not traced as a whole, but in parts or layer by layer"
            yield f"the forward was {how}: {self.untraced}"
        if not self._sparse and not any(map(self.gains, self.times)):
            yield f"{type(self._model).__name__} runs as it was: by measurement lists are no faster"

    def __reduce__(self) -> tuple[Any, ...]:
        state = {
            name: (piece.runner.plans, piece.runner.density, piece.times, piece.asked)
            for name, piece in self.pieces.items()
        }
        made_of = (self._model, self._form, self._example, self.storage)
        return _again, (made_of, state, self.times, self._sparse)


def _again(
    made_of: tuple[Any, ...], state: Mapping[str, Any], times: dict[int, Any], sparse: bool
) -> Accelerated:
    """A copied or pickled model, with the model that it follows."""
    engine = Accelerated(*made_of)
    for name, (plans, density, piece_times, asked) in state.items():
        piece = engine.pieces[name]
        piece.runner.plans, piece.runner.density = plans, density
        piece.times, piece.asked = piece_times, asked
    engine.times, engine._sparse = times, sparse
    engine._keep()
    return engine


def _body(
    root: nn.Module, form: Form, tensors: Sequence[Tensor], plain: nn.Module, storage: Storage
) -> tuple[Body, str | None]:
    try:
        return Traced(traced(root, form, tensors), form, plain, storage), None
    except CannotTrace as error:
        call = form.filled([tensor.clone() for tensor in tensors])
        return Replaced(root, storage, call=call), str(error)


def accelerate_any(
    model: nn.Module,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    storage: Storage,
    dispatch: Choice | Mapping[str, Choice],
    batches: Iterable[int] | None,
) -> Accelerated:
    """:func:`accelerate` for a model that is no chain of layers that the engine knows."""
    form, tensors = form_of(*arguments(model, *call))
    refuse_call(model, form, tensors)
    engine = Accelerated(model, form, tensors, storage)
    if not engine.pieces and kernels() is not None:
        reasons = "".join(f"; {name}: {reason}" for name, reason in engine.runs_dense.items())
        name = type(model).__name__
        raise InvalidInput(f"{name}: holds no Linear or Conv2d that it can take{reasons}")
    choice_by_name(dispatch, [piece.runner for piece in engine.pieces.values()])
    engine.measure(tensors, batches)
    engine.override(dispatch)
    return engine


def refuse_call(model: nn.Module, form: Form, tensors: Sequence[Tensor]) -> None:
    """InvalidInput where the model cannot be called with the sample."""
    args, kwargs = form.filled([tensor.detach().clone() for tensor in tensors])
    try:
        with torch.no_grad():
            twin_of(model, evaluating=True)(*args, **kwargs)
    except Exception as error:  # a forward may do anything
        raise InvalidInput(
            f"sample: {type(model).__name__} cannot be called with it ({in_one_line(error)}); give "
            "a tensor, a tuple of arguments, or a dictionary of keyword arguments"
        ) from error


def few(names: Sequence[str], count: int = _NAMED) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def ms(seconds: float) -> str:
    """Seconds in milliseconds."""
    return f"{1e3 * seconds:.3g} ms"
