"""watching(): hooks on chosen modules for the length of a block, and none afterwards."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sparsefield.watch.call import Call, Place

_NAMED = 5  # modules that a warning names


@contextmanager
def watching(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    see: Callable[[Call], Tensor | None],
    *,
    before: Callable[[Place, Tensor], None] | None = None,
    gradient: Callable[[Place, Tensor], None] | None = None,
) -> Iterator[Watch]:
    """Watch every call of ``modules`` inside the block; its end, or an error, takes the hooks off.

    A call without a tensor among its arguments, or whose output is none, is not seen.

    Parameters
    ----------
    model
        each call of it begins a pass.
    modules
        modules of the model, by the names that calls will go by.
    see
        told of a call that was made. If it returns a tensor, that stands in the output's place.
    before
        told of what a call is about to read, which an in-place module overwrites.
    gradient
        told of the gradient with respect to what a call has read, if one flows inside the block.

    >>> import torch
    >>> model, shares = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {}
    >>> def see(call):
    ...     shares[str(call.place)] = call.zeros / call.output.numel()
    >>> with watching(model, {"1": model[1]}, see) as watch:
    ...     _ = model(torch.zeros(3, 4))
    >>> list(shares), watch.missing
    (['1'], ())
    """
    with ExitStack() as stack:
        watch = Watch(stack, see, before, gradient)
        watch.attach(model, modules)
        yield watch


class Watch:
    """What a block expects to see, and what it has seen.

    Attributes
    ----------
    expected
        names of the watched modules.
    fired
        those that were called and seen.
    laps
        passes of the model that have begun.
    """

    def __init__(
        self,
        stack: ExitStack,
        see: Callable[[Call], Tensor | None],
        before: Callable[[Place, Tensor], None] | None,
        gradient: Callable[[Place, Tensor], None] | None,
    ) -> None:
        self.expected: tuple[str, ...] = ()
        self.fired: set[str] = set()
        self.laps = 0
        self._stack, self._see, self._before, self._gradient = stack, see, before, gradient
        self._turns: Counter[str] = Counter()
        self._places: dict[str, Place] = {}
        self._order, self._features = 0, -1

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the modules that were not seen."""
        return tuple(name for name in self.expected if name not in self.fired)

    def warn(self) -> None:
        """Warn in one line if the model ran and some modules were not seen."""
        missing = self.missing
        if self.laps and missing:
            names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            warnings.warn(
                f"{len(missing)} of {len(self.expected)} watched modules were not called while "
                f"the model ran: {names}; what is compiled, fused or unused calls no module, so "
                "watch the model as it was before",
                stacklevel=2,
            )

    def attach(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        """Hook the model, the layers that give the layout, and every module to be watched."""
        self.expected = tuple(modules)
        keep = self._stack.callback
        keep(model.register_forward_pre_hook(_Hook(self._begin)).remove)
        for layer in model.modules():
            if isinstance(layer, nn.Linear | _ConvNd):
                keep(layer.register_forward_hook(_Hook(self._laid_out)).remove)
        for name, module in modules.items():
            enter, leave = _Hook(self._enter, name), _Hook(self._leave, name)
            keep(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            keep(module.register_forward_hook(leave, with_kwargs=True).remove)

    def _begin(self, *_: Any) -> None:
        self.laps += 1
        self._order, self._features = 0, -1
        self._turns.clear()

    def _laid_out(self, layer: nn.Module, *_: Any) -> None:
        self._features = layer.out_features if isinstance(layer, nn.Linear) else -1

    def _units(self, output: Tensor) -> int:
        """The last axis if a linear layer has just put its units there, that of channels if not."""
        return -1 if output.shape[-1:] == (self._features,) else 1

    def _enter(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        read = _first_tensor(args, kwargs)
        if read is None:
            return
        self._turns[name] += 1
        place = self._places[name] = Place(name, self._turns[name], self._order, self.laps)
        self._order += 1
        if self._before is not None:
            self._before(place, read)
        # an in-place module gives its input another history: the hook belongs to the one before
        if self._gradient is not None and read.requires_grad:
            self._stack.callback(read.register_hook(partial(self._gradient, place)).remove)

    def _leave(
        self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> Tensor | None:
        read = _first_tensor(args, kwargs)
        if read is None or not isinstance(output, Tensor):
            return None
        self.fired.add(name)
        call = Call(self._places[name], module, read, output, self._units(output))
        return self._see(call)


class _Hook(partial[Any]):
    """A hook that a copy or a pickle of its module does not take along."""

    def __reduce__(self) -> Any:
        return _Nothing, ()


class _Nothing:
    """What a copy has in a hook's place."""

    def __call__(self, *_: Any) -> None:
        """See nothing."""


def _first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    return next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
