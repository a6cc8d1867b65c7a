"""What runs when in a model of any class, and what it reads: found by running a sample."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.overrides import TorchFunctionMode

from sparsefield.errors import InvalidInput
from sparsefield.watch import Call, Place, Watch, modules_of

from .activations import Activation
from .fill import LAYERS, TRANSPOSED
from .held import owns
from .origin import INPUT, Order, Origin, after, skipped
from .rectifier import is_rectifier, rectifies
from .skip import Skip

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_MEETING = {"matmul", "rmatmul", "bmm", "baddbmm", "einsum"}
_WEIGHTED = frozenset(["linear", "bilinear", "conv1d", "conv2d", "conv3d", "matmul"]) | {
    "multiheadattentionforward",  # with projections of its own
    "nativemultiheadattention",
}
_SQUASHING = """
sigmoid hardsigmoid logsigmoid tanh hardtanh softsign softmax logsoftmax gumbelsoftmax glu sin
cos exp
"""
_GATES = frozenset(_SQUASHING.split())
Sample = Tensor | tuple[Any, ...] | Mapping[str, Any]


def run(model: nn.Module, sample: Sample) -> Any:
    """The model's output for a tensor, a tuple of arguments or a mapping of keywords.

    Raises
    ------
    InvalidInput
        the model cannot run it.
    """
    try:
        if isinstance(sample, Mapping):
            return model(**sample)
        return model(*sample) if isinstance(sample, tuple) else model(sample)
    except InvalidInput:
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(
            f"sample: {type(model).__name__} cannot run it ({said}); pass a tensor, a tuple of "
            "arguments or a dict of keywords, of several inputs"
        ) from error


@contextmanager
def as_sampled(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout, batch norms on the batch's own statistics; all put back after."""
    modes, whole = [(module, module.training) for module in model.modules()], model.training
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        for module, _ in modes:
            module.training = isinstance(module, _BatchNorm)
        with torch.no_grad():
            yield
    finally:
        for module in model.modules():  # those that came meanwhile
            module.training = whole
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                if buffer is not None and value is not None:
                    buffer.copy_(value)
                module._buffers[name] = buffer


@dataclass
class Reading(Order):
    """An :class:`Order`, and what else was seen in the run.

    Attributes
    ----------
    rectifiers
        modules whose own forward calls a rectifier function, with the function's name.
    gates
        functions that squash, with the module that calls them.
    spread
        mean square of what each norm put out, by name.
    attended
        layers whose outputs meet in a product with each other: projections of attention.
    unread
        places of activations whose output nothing was seen to read, as where the module that was
        there before wrote into its input.
    """

    rectifiers: list[tuple[nn.Module | None, str]] = field(default_factory=list)
    gates: list[tuple[nn.Module | None, str]] = field(default_factory=list)
    spread: dict[str, float] = field(default_factory=dict)
    attended: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)


def read_order(model: nn.Module, sample: Sample) -> Reading:
    """Run the sample once and follow every tensor."""
    follower = _Follower(model)
    watched = modules_of(model, follower.wants)
    for tensor in tensors_in(sample):
        follower.set(tensor, INPUT)
    with (
        Watch(model, watched).passes(follower.leave, before=follower.enter),
        follower,
    ):
        follower.read(tensors_in(run(model, sample)))
    return follower.order


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)


class _Follower(TorchFunctionMode):
    """Knows where each tensor of one run comes from."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.order = Reading()
        self._model = model
        self._origins: dict[int, Origin] = {}
        self._alive: list[Tensor] = []  # an id is a tensor's only while it lives
        self._reads: dict[str, Origin] = {}
        self._active: dict[int, str] = {}
        self._updates: dict[str, Origin] = {}
        self._registered = {id(part) for part in model.modules()}
        self._skips = {name for name, part in model.named_modules() if isinstance(part, Skip)}
        self._blocks = {id(part.block) for part in model.modules() if isinstance(part, Skip)}

    def wants(self, module: nn.Module) -> bool:
        """Whether a module is to be watched: it makes something of a kind that functions hide."""
        if module is self._model:
            return False
        known = (*LAYERS, *TRANSPOSED, *NORMS, nn.Embedding, Activation, Skip)
        is_block = id(module) in self._blocks
        alone = owns(module) and next(module.children(), None) is None
        return isinstance(module, known) or alone or is_block

    def set(self, tensor: Tensor, origin: Origin) -> None:
        self._origins[id(tensor)] = origin
        self._alive.append(tensor)

    def read(self, tensors: Iterable[Tensor]) -> None:
        """Something reads these."""
        for tensor in tensors:
            self.order.unread.discard(self._active.get(id(tensor), ""))

    def of(self, tensor: Tensor) -> Origin:
        unknown = "parameter" if isinstance(tensor, nn.Parameter) else "constant"
        return self._origins.get(id(tensor), Origin(unknown))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._follow(func, args, kwargs or {}, made)
        return made

    def _follow(self, func: Any, args: Any, kwargs: Any, made: Any) -> None:
        tensors = list(tensors_in((args, kwargs)))
        if not tensors:
            return
        self.read(tensors)
        name = str(getattr(func, "__name__", func)).replace("_", "").lower()
        read = [self.of(tensor) for tensor in tensors]
        if name in _WEIGHTED and any(isinstance(each, nn.Parameter) for each in tensors[1:]):
            read = self._weighted(read)
        elif len(tensors) == 1 and isinstance(made, Tensor) and made.shape == tensors[0].shape:
            self._note(func, name, args, kwargs)
        computed = [each for each in read if each.kind not in ("constant", "parameter")]
        if name in _MEETING and len(computed) > 1:
            name = "attention"
        origin = after(name, [each for each in read if each.kind != "constant"] or read)
        if origin.kind == "attention":
            self.order.attended |= origin.layers
        for tensor in tensors_in(made):
            self.set(tensor, origin)
        if name == "setitem":
            self.set(tensors[0], origin)

    def _weighted(self, read: Iterable[Origin]) -> list[Origin]:
        """A function with weights of its own reads these."""
        for each in read:
            self.order.follow(each)
        return [Origin("product")]

    def _note(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        """Remember a function of one tensor that is no linear map."""
        if name in _GATES:
            self.order.gates.append((_caller(self._registered), name))
        elif isinstance(args[0] if args else None, Tensor):
            owner = _caller(self._registered)
            rest = partial(_on_first, func, args[1:], kwargs)
            if (owner is None or not is_rectifier(owner)) and rectifies(rest):
                self.order.rectifiers.append((owner, name))

    def enter(self, place: Place, read: Tensor) -> None:
        """A watched module is about to read."""
        self._reads[place.name] = self.of(read)
        self.read([read])

    def leave(self, call: Call) -> None:
        """A watched module has been called."""
        name, part = call.place.name, call.module
        read = self._reads.get(name, Origin("constant"))
        made = self._made(name, str(call.place), part, read, call)
        if made is not None:
            self.set(call.output, made)
        if id(part) in self._blocks:
            self._updates[name.rpartition("block")[0].rstrip(".")] = self.of(call.output)

    def _made(
        self, name: str, place: str, part: nn.Module, read: Origin, call: Call
    ) -> Origin | None:
        """Where the output comes from; None where its functions tell."""
        if isinstance(part, (*LAYERS, *TRANSPOSED)):
            return self.order.layer(name, place, read)
        if isinstance(part, Activation):
            self._active[id(call.output)] = place
            self.order.unread.add(place)
            return self.order.activation(name, place, self._joined(name, read))
        if isinstance(part, Skip):
            return self._summed(name, self.of(call.output)) if part.activation is None else None
        if isinstance(part, NORMS) or _forgets_scale(part, call):
            self.order.spread[name] = call.output.float().square().mean().item()
            return self.order.norm(name, place, read)
        if isinstance(part, nn.Embedding):
            return Origin("embedding", name)
        if owns(part) and next(part.children(), None) is None:
            self.order.follow(read)
            return Origin(type(part).__name__, name)
        return None

    def _joined(self, name: str, read: Origin) -> Origin:
        """What the activation inside a post-activation skip reads."""
        skip = name.removesuffix("activation").rstrip(".")
        inside = name.endswith("activation") and skip in self._skips
        return self._summed(skip, read) if inside else read

    def _summed(self, skip: str, total: Origin) -> Origin:
        update = self._updates.get(skip, total)
        return skipped(self._reads.get(skip, total), update, total)


def _forgets_scale(part: nn.Module, call: Call) -> bool:
    """Whether a foreign module with parameters gives the same for four times its input."""
    if not owns(part) or any(p.numel() > max(p.shape, default=1) for p in part.parameters()):
        return False
    if not call.read.is_floating_point() or not call.output.any():
        return False
    try:
        again = part.forward(4.0 * call.read)
    except Exception:  # it wants more than one tensor: no norm
        return False
    return isinstance(again, Tensor) and torch.allclose(
        again.float(), call.output.float(), rtol=0.02, atol=0.02
    )


def _on_first(func: Callable[..., Any], args: Any, kwargs: Any, x: Tensor) -> Any:
    return func(x, *args, **kwargs)


def _caller(registered: Collection[int]) -> nn.Module | None:
    """The innermost module of the model whose forward is running.

    Read off the stack: a hook is not told of a module that reads or puts out no tensor.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in registered:
            return owner
    return None
