"""Watch: chosen modules of a model, hooked for the length of a block and free afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from sparsefield.watch.layout import Layout
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
        self._model, self._modules, self._layout = model, modules, Layout(model)

    @contextmanager
    def passes(
        self, see: See, *, before: Told | None = None, gradient: Told | None = None
    ) -> Iterator[Passes]:
        """See every call inside the block; its end, or an error, takes the hooks off.

        A call without a tensor among its arguments, or whose output is none, is not seen.

        Parameters
        ----------
        see
            told of a call that was made. If it returns a tensor, that stands in the output's place.
        before
            told of what a call is about to read, which an in-place module overwrites.
        gradient
            told of the gradient with respect to what a call has read, if one flows in the block.
        """
        passes = Passes(self._layout, see, before, gradient)
        try:
            passes.attach(self._model, self._modules)
            yield passes
        finally:
            passes.detach()
