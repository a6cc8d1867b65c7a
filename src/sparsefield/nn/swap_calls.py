"""Which parts of a model call rectifiers as functions, as the sample runs it; and their swap."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from torch import Tensor, nn

from .activations import Activation
from .order import Sample, read_order, run, tensors_in
from .swap import Make, swap_functions


def swap_calls_of(
    model: nn.Module, sample: Sample, make: Make, names: Mapping[int, str], undo: ExitStack
) -> tuple[dict[str, str], dict[int, str]]:
    """Replace calls of rectifier functions.

    Parameters
    ----------
    names
        of the parts that may be changed, by their id.

    Returns
    -------
    What was replaced, by the name of the new part; and why not, by the id of the part that calls.
    """
    owners = {
        id(owner): owner
        for owner, _ in read_order(model, sample).rectifiers
        if owner is not None and id(owner) in names and not isinstance(owner, Activation)
    }

    def outputs() -> list[Tensor]:
        return [each.clone() for each in tensors_in(run(model, sample))]

    swapped, failed = swap_functions(list(owners.values()), make, outputs, undo)
    was = {
        f"{names[owner]}.{child}" if names[owner] else child: function
        for owner, functions in swapped.items()
        for child, function in functions.items()
    }
    return was, failed
