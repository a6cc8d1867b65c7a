"""A model that trains on the lists of its active units: the same parameters, the same gradients."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from operator import attrgetter
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sparsefield.errors import InvalidInput
from sparsefield.nn.hold import Tell

from .forking import one_thread_if_forked
from .links import Dense, Link, check_parameter, lay, look
from .native import kernels
from .parts import Between, Part, parts_of
from .phi import CODES, IDENTITY
from .products import Chain
from .telling import Listener, activity, telling_steps

_version = attrgetter("_version")


class Later(Protocol):
    """What takes a backward pass whose weight gradients are to be made later."""

    def before(self, segment: Segment) -> None:
        """A backward pass is about to begin."""

    def after(self, segment: Segment, tape: Any, gradient: Tensor) -> None:
        """It has ended, and was asked for the gradients of the parameters."""

    def forget(self) -> None:
        """What backward passes have left is not wanted any more."""


def _nobody() -> None:
    return None


class Segment:
    """Layers that follow one another, each of which reads an activation with zeros.

    Calling it with h of the layer before, ``[batch, in]`` or ``[batch, in, height, width]``, gives
    h of its last, differentiable in h and in the parameters. A weight lies input-major in memory,
    which its shape does not show, and so do images: channels last.

    Attributes
    ----------
    weights, biases, addresses
        of the layers' parameters, first to last, as the last call saw them.
    widths
        inputs of each layer.
    """

    weights: list[nn.Parameter]
    biases: list[nn.Parameter | None]
    addresses: tuple[list[int], list[int]]

    def __init__(self, links: Iterable[Link], instruction_set: str = "") -> None:
        self.links = tuple(links)
        self.instruction_set = instruction_set
        self._later: Callable[[], Later | None] = _nobody
        self._sizes = [tuple(link.weight.shape) for link in self.links]
        self.widths = tuple(inputs for _, inputs, *_ in self._sizes)
        self._seen: list[Any] = []
        self._native: Any = None
        self.seen: Tensor | None = None  # sizes of the inputs, by the last look
        self.lay()

    def __getstate__(self) -> dict[str, Any]:
        known = self.__dict__ | {"_native": None, "_seen": [], "_later": _nobody, "seen": None}
        return known | {"addresses": ([], [])}

    @property
    def inputs(self) -> int:
        """That the first layer reads."""
        return self._sizes[0][1]

    @property
    def later(self) -> Later | None:
        """The optimiser that makes the weight gradients with its update, if one does."""
        return self._later()

    @later.setter
    def later(self, later: Later | None) -> None:
        self._later = _nobody if later is None else weakref.ref(later)

    @property
    def native(self) -> Any:
        """The kernels, told of every layer."""
        if self._native is None:
            module = kernels()
            assert module is not None
            self._native = module.Training(self.instruction_set)
            for link, (outputs, inputs, *_) in zip(self.links, self._sizes, strict=True):
                phi, window = link.reads, link.window
                self._native.add(
                    *(inputs, outputs, math.sqrt(link.skip), math.sqrt(1.0 - link.skip)),
                    *(CODES[phi.kind], phi.tau, phi.m),
                    [] if window is None else [*sum(window[:3], ()), window.circular],
                )
        return self._native

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Weights, then biases, first layer to last."""
        return [*self.weights, *(bias for bias in self.biases if bias is not None)]

    def lay(self) -> None:
        """Look at the layers' parameters: hold weights input-major, where they are not.

        Raises
        ------
        InvalidInput
            parameters of another shape, type or device than at first.
        """
        held = [link.layer._parameters for link in self.links]
        seen = [look(parameters) for parameters in held]
        if seen == self._seen:
            return
        for link, size in zip(self.links, self._sizes, strict=True):
            check_parameter(link.name, link.weight, size)
            if link.bias is not None:
                check_parameter(link.name, link.bias, size[:1])
            lay(link.weight)
        self.weights = [link.weight for link in self.links]
        self.biases = [link.bias for link in self.links]
        self.addresses = (
            [weight.data_ptr() for weight in self.weights],
            [0 if bias is None else bias.data_ptr() for bias in self.biases],
        )
        self._seen = [look(parameters) for parameters in held]

    def __call__(self, h: Tensor, listener: Listener | None = None) -> Tensor:
        images = self.links[0].window is not None
        dimensions = 4 if images else 2
        if h.dim() != dimensions or h.shape[1] != self.inputs or h.dtype != torch.float32:
            axes = ", height, width" if images else ""
            raise InvalidInput(
                f"{self.links[0].name}: reads float32 [batch, {self.inputs}{axes}], "
                f"was given {h.dtype} {list(h.shape)}"
            )
        return self._images(h, listener) if images else self._rows(h, listener)

    def _images(self, h: Tensor, listener: Listener | None) -> Tensor:
        return self._rows(h.permute(0, 2, 3, 1), listener).permute(0, 3, 1, 2)

    def _rows(self, h: Tensor, listener: Listener | None) -> Tensor:
        self.lay()
        parameters: list[Tensor] = [*self.parameters]
        wanted = [p for p in parameters if p.requires_grad]
        if not torch.is_grad_enabled() or not (wanted or h.requires_grad):
            return self.forward(h, keep=False)[0]
        left: list[tuple[Any, Tensor]] = []
        if self.later is not None:
            parameters = [self._stand_in(left)] if wanted else []
        found = _OnLists.apply(self, left, listener, h, *parameters)  # type: ignore[no-untyped-call]
        if listener is not None:
            listener.tell(self.widths, *found[1:])
        out: Tensor = found[0]
        return out

    def _stand_in(self, left: list[tuple[Any, Tensor]]) -> Tensor:
        """For the parameters of one call: where autograd would write theirs, the update is told.

        So it is not told by ``torch.autograd.grad`` and the like, which write no ``grad``.
        """
        leaf = torch.zeros((), requires_grad=True)

        def tell(_: Tensor) -> None:
            if self.later is not None:
                self.later.after(self, *left.pop())

        leaf.register_post_accumulate_grad_hook(tell)
        return leaf

    def forward(self, h: Tensor, *, keep: bool) -> tuple[Tensor, Any]:
        """h of the last layer, and the tape of the active inputs where it is to be kept."""
        h = h.detach().contiguous()
        out = h.new_empty(len(h), *self._image_after(h.shape[1:-1]), self._sizes[-1][0])
        tape = self.native.forward(
            *(h.data_ptr(), out.data_ptr(), len(h), *(h.shape[1:-1] or (1, 1))),
            *(torch.get_num_threads(), keep, *self.addresses),
        )
        return out, tape

    def _image_after(self, size: Sequence[int]) -> Sequence[int]:
        """The size of the images of the last layer."""
        for link in self.links:
            if link.window is not None:
                size = link.window.after((size[0], size[1]))
        return size

    def backward(
        self, tape: Any, gradient: Tensor, x_gradient: Tensor | None, push: Tensor | None = None
    ) -> None:
        """Fill the tape with the gradients of the active inputs, as far down as they are needed.

        ``push``: what the size of each input of each layer adds to them at every site.
        """
        begins = accumulate(self.widths[:-1], initial=0)
        pushes = [] if push is None else [[push.data_ptr() + 4 * begin for begin in begins]]
        needed = [
            weight.requires_grad or (bias is not None and bias.requires_grad)
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        lowest = needed.index(True) + 1 if True in needed else len(needed)
        self.native.backward(
            tape,
            gradient.data_ptr(),
            0 if x_gradient is None else x_gradient.data_ptr(),
            lowest if x_gradient is None else 0,
            torch.get_num_threads(),
            self.addresses[0],
            *pushes,
        )

    def gradients(self, tape: Any, gradient: Tensor) -> list[Tensor | None]:
        """Those of the parameters that need one, from a tape that backward has filled."""
        tensors = [*self.weights, *self.biases]
        made = [torch.empty_like(p) if p is not None and p.requires_grad else None for p in tensors]
        targets = [(-1, 0, 0, 0, 0) if g is None else (0, g.data_ptr(), 0, 0, 0) for g in made]
        self.update(tape, gradient, [[1.0] + [0.0] * 10], targets)  # the rule that writes it
        return [g for p, g in zip(tensors, made, strict=True) if p is not None]

    def update(
        self,
        tape: Any,
        gradient: Tensor,
        groups: Sequence[Sequence[float]],
        targets: Sequence[tuple[int, int, int, int, int]],
    ) -> None:
        """Do with each tensor's gradient what its group says; see csrc/train_module.cpp.

        ``targets`` has one for each weight, then one for each bias.
        """
        depth, threads = len(self.links), torch.get_num_threads()
        self.native.weights(
            tape, gradient.data_ptr(), threads, groups, targets[:depth], targets[depth:]
        )


class _OnLists(torch.autograd.Function):
    """A segment's h, from h of the layer before, and what it tells of what its layers read."""

    @staticmethod
    def forward(
        ctx: Any,
        segment: Segment,
        left: list[Any],
        listener: Listener | None,
        h: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.segment, ctx.later, ctx.left, ctx.count = segment, segment.later, left, len(parameters)
        ctx.shape, ctx.versions = h.shape, list(map(_version, segment.weights))
        ctx.set_materialize_grads(False)
        out, ctx.tape = segment.forward(h, keep=True)
        ctx.out_shape = out.shape
        if listener is None:
            return out, None, None
        ctx.sites, *told = activity(segment, ctx.tape, h.shape, look=listener.look)
        ctx.mark_non_differentiable(*(each for each in told[1:] if each is not None))
        return out, *told

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, of_sizes: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        segment: Segment = ctx.segment
        if list(map(_version, segment.weights)) != ctx.versions:
            raise InvalidInput(
                "backward: the weights have changed since the forward pass; call the model again"
            )
        gradient = torch.zeros(ctx.out_shape) if gradient is None else gradient.contiguous()
        wanted = ctx.needs_input_grad[3]
        of_h = gradient.new_empty(ctx.shape) if wanted else None
        if ctx.later is not None:
            ctx.later.before(segment)
        push = None if of_sizes is None else of_sizes / ctx.sites
        segment.backward(ctx.tape, gradient, of_h, push)
        if ctx.later is not None:
            ctx.left[:] = [(ctx.tape, gradient)]
            return None, None, None, of_h, *[gradient.new_zeros(())] * ctx.count
        return None, None, None, of_h, *segment.gradients(ctx.tape, gradient)


class ChannelsLast(nn.Module):
    """A dense convolution whose images lie as those on lists do, so that none is copied between."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """As the layer has it."""
        h: Tensor = self.layer(x.contiguous(memory_format=torch.channels_last))
        return h


class TrainingEngine(nn.Module):
    """A model that trains on the lists of its active units; see :func:`accelerate`.

    It is a module over the model's own parameters, with the model's names: an optimiser of either
    trains both, and ``state_dict`` of either is the other's. The gradients are those of the model,
    without sampling or approximation; numbers too small to be normal (1.2e-38) count as zero.

    Parameters
    ----------
    model
        whose parameters these are.
    instruction_set
        of the kernels; the best that the machine has.
    lists
        names of the layers to run on lists; all that can.

    Attributes
    ----------
    steps
        what runs one after the other: segments, and modules and functions that run as they are.
    runs_dense
        the layers that run as they are, each with the reason.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        instruction_set: str = "",
        lists: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        parts = parts_of(model, training=True)
        self.steps = tuple(_steps(parts, model, instruction_set, lists))
        self.runs_dense = {
            part.name: part.reason
            for part in parts
            if isinstance(part, Between) and part.reason is not None
        }
        self._listener: Listener | None = None
        self.training = model.training
        for shared in ("_modules", "_parameters", "_buffers"):
            self.__dict__[shared] = model.__dict__[shared]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What runs on lists."""
        return tuple(step for step in self.steps if isinstance(step, Segment))

    @property
    def on_lists(self) -> tuple[str, ...]:
        """Names of the layers that run on lists."""
        return tuple(link.name for segment in self.segments for link in segment.links)

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs for a batch."""
        if torch.is_autocast_enabled("cpu"):
            raise InvalidInput("autocast: training on lists is float32 alone; leave autocast")
        one_thread_if_forked()
        told = self._listener
        for step in self.steps if told is None else telling_steps(self.steps, told):
            x = step(x)
        return x

    @contextmanager
    def telling(self, tell: Tell, *, look: bool) -> Iterator[None]:
        """See :class:`sparsefield.nn.hold.Telling`."""
        self._listener = Listener(tell, look)
        try:
            yield
        finally:
            self._listener = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, those that wait for the fused update too."""
        for segment in self.segments:
            if segment.later is not None:
                segment.later.forget()
        super().zero_grad(set_to_none)

    def optimizer(self, kind: type[torch.optim.Optimizer], **options: Any) -> torch.optim.Optimizer:
        """An optimiser over all parameters whose update is fused with the weight gradients.

        ``kind`` is SGD, Adam or AdamW of ``torch.optim``; ``options`` are its own. Its interface
        and ``state_dict`` are torch's, and so is what it does, to rounding. Where nothing else
        asks for the gradients of layers on lists, none is written: ``grad`` stays None. What reads
        gradients between ``backward`` and ``step``, such as clipping, calls
        ``optimizer.write_gradients()`` before; a step that finds them changed says so. Only the
        bias of the last layer on lists is written: by it a step knows that ``model.zero_grad()``
        was called.

        Raises
        ------
        InvalidInput
            another kind, or an option that the fused update does not know.
        """
        from .fused import fused

        return fused(self, kind, options)


def train_engine(model: nn.Module, sample: Tensor) -> TrainingEngine:
    """The engine of :func:`accelerate` with ``train=True``."""
    if kernels() is None:
        raise InvalidInput("train=True: needs the compiled kernels; build with a compiler")
    engine = TrainingEngine(model)
    if not engine.segments:
        reasons = "".join(f"; {name}: {reason}" for name, reason in engine.runs_dense.items())
        raise InvalidInput(
            f"{type(model).__name__}: holds no layer that reads a sparse activation{reasons}"
        )
    for name, reason in engine.runs_dense.items():
        warnings.warn(f"accelerate: {name} runs dense: {reason}", stacklevel=3)
    with torch.no_grad():
        engine(sample)
    return engine


def _steps(
    parts: Sequence[Part],
    model: nn.Module,
    instruction_set: str,
    lists: Collection[str] | None,
) -> Iterator[Callable[[Tensor], Tensor]]:
    """What runs one after the other: segments, and what autograd runs as it is."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for part in parts:
        if isinstance(part, Between):
            is_module = isinstance(part.module, nn.Module)
            # not its twin in evaluation mode
            yield modules.get(part.name, model) if is_module else part.module
        else:
            yield from _of_chain(part, instruction_set, lists)


def _of_chain(
    chain: Chain, instruction_set: str, lists: Collection[str] | None
) -> Iterator[Callable[[Tensor], Tensor]]:
    waiting: list[Link] = []
    for step in _layers(chain, lists):
        if isinstance(step, Link):
            waiting.append(step)
            continue
        if waiting:
            yield Segment(waiting, instruction_set)
        waiting = []
        yield step
    if waiting:
        yield Segment(waiting, instruction_set)


def _layers(
    chain: Chain, lists: Collection[str] | None
) -> Iterator[Link | Callable[[Tensor], Tensor]]:
    """Links that go on lists, and what runs as it is."""
    reads = chain.before
    for product in chain.products:
        layer = product.layer
        assert layer is not None
        if isinstance(layer, nn.Linear | nn.Conv2d) and reads != IDENTITY:
            link = Link(product.name, layer, reads, product.skip, product.window)
            yield link if lists is None or link.name in lists else Dense(link)
        elif product.skip:
            raise InvalidInput(f"{product.name}: a skip around what runs dense")
        else:
            if reads != IDENTITY:
                yield reads
            yield ChannelsLast(layer) if product.window is not None else layer
        reads = product.phi
    if reads != IDENTITY:
        yield reads
