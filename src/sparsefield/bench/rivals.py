"""The rivals: each turns a model and a sample batch into a call, or says why it cannot."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from sparsefield.engine import accelerate
from sparsefield.errors import InvalidInput

from .exported import onnxruntime, openvino
from .making import Absent, Call, quiet
from .sparse_rivals import csr, embedding_bag


@dataclass(frozen=True)
class Rival:
    """One way to run a model.

    Attributes
    ----------
    name
        as in ``--rivals``.
    make
        from the model (float32, in evaluation mode) and a sample batch to a callable with the
        model's outputs for batches of that shape. It raises where it cannot; the message is
        what the table then shows.
    dense
        whether it takes no notice of zeros: the fastest of these is "best dense".
    """

    name: str
    make: Callable[[nn.Module, Tensor], Call]
    dense: bool = False


def eager(model: nn.Module, sample: Tensor) -> Call:
    """The model as it is."""
    return model


def channels_last(model: nn.Module, sample: Tensor) -> Call:
    """The model in PyTorch's other memory layout for images, conversion inside the call.

    Raises
    ------
    Absent
        the model has no convolution.
    """
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise Absent("no convolution, one layout only")
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight, requires_grad=False)

    def call(x: Tensor) -> Tensor:
        answer: Tensor = changed(x.contiguous(memory_format=torch.channels_last))
        return answer

    return call


def compiled(model: nn.Module, sample: Tensor, *, freezing: bool = False) -> Call:
    """``torch.compile`` for this one shape; with ``freezing``, the weights are constants of it."""
    # Past its limit of compilations it would run eager and not say so. The option tells the two
    # ways apart in the compiler's memory of a model; only the setting freezes.
    unlimited = {"recompile_limit": sys.maxsize, "accumulated_recompile_limit": sys.maxsize}
    with torch.inference_mode(), quiet(), torch._dynamo.config.patch(unlimited):
        call: Call = torch.compile(model, dynamic=False, options={"freezing": freezing})
        with torch._inductor.config.patch(freezing=freezing):
            call(sample)
    return call


def engine(model: nn.Module, sample: Tensor) -> Call:
    """``accelerate``, of this library."""
    return accelerate(model, sample, batches=(len(sample),))


RIVALS: dict[str, Rival] = {
    rival.name: rival
    for rival in (
        Rival("eager", eager, dense=True),
        Rival("channels_last", channels_last, dense=True),
        Rival("compile", compiled, dense=True),
        Rival("compile-frozen", partial(compiled, freezing=True), dense=True),
        Rival("onnxruntime", onnxruntime, dense=True),
        Rival("openvino", openvino, dense=True),
        Rival("embedding_bag", embedding_bag),
        Rival("csr", csr),
        Rival("engine", engine),
    )
}


def named_rivals(names: Iterable[str]) -> tuple[Rival, ...]:
    """The rivals of these names, in the table's order; eager, the reference, is always there.

    Raises
    ------
    InvalidInput
        an unknown name.

    >>> [rival.name for rival in named_rivals(["engine"])]
    ['eager', 'engine']
    """
    wanted = {"eager", *names}
    unknown = sorted(wanted - set(RIVALS))
    if unknown:
        raise InvalidInput(f"rival {unknown[0]!r} is unknown; choose from {', '.join(RIVALS)}")
    return tuple(rival for name, rival in RIVALS.items() if name in wanted)
