"""Watch: chosen modules of a model, seen at work for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from torch import nn

from sparsefield.watch.calling import listening
from sparsefield.watch.functions import Functions
from sparsefield.watch.passes import Passes, See, Told


class Watch:
    """Modules of a model that are to be seen at work.

    Parameters
    ----------
    model
        each call of it begins a pass.
    modules
        some of its modules, by the names that their calls will go by.

    >>> import torch
    >>> model, shares = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {}
    >>> def see(call):
    ...     shares[str(call.place)] = call.zeros / call.output.numel()
    >>> with Watch(model, {"1": model[1]}).passes(see) as passes:
    ...     _ = model(torch.zeros(3, 4))
    >>> list(shares), passes.missing
    (['1'], ())
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        self._model, self._modules = model, modules
        self._said = set[str]()

    @contextmanager
    def passes(
        self,
        see: See,
        *,
        before: Told | None = None,
        gradient: Told | None = None,
        functions: bool = False,
    ) -> Iterator[Passes]:
        """See every call inside the block; its end, or an error, leaves nothing behind.

        A call is about the first tensor among its arguments and the first in its output, in tuples
        and dicts too; one without is not seen. Nothing that is compiled or fused runs so in the
        block, as such code calls no module. What a checkpoint computes anew is no other call.
        Inside ``torch.func.vmap`` a tensor is told with the axes that are mapped over in front.

        Parameters
        ----------
        see
            told of a call that was made. If it returns a tensor, that stands in the output's place.
        before
            told of what a call is about to read, which an in-place module overwrites.
        gradient
            told of the gradient with respect to what a call has read, if one flows in the block.
        functions
            whether to look for activations that are called as functions, which takes its time.
        """
        passes = Passes(self._model, self._modules, see, before, gradient, self._said)
        try:
            with listening(passes), Functions(passes.function) if functions else nullcontext():
                yield passes
        finally:
            passes.detach()
