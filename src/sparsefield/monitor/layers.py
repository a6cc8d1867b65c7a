"""Which modules of a network are its activations."""

from __future__ import annotations

from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import Activation


def activation_modules(model: nn.Module) -> list[nn.Module]:
    """The activation modules of ``model`` in the order in which they were registered.

    An activation is a :class:`sparsefield.nn.Activation` or a :class:`torch.nn.ReLU`.

    Raises
    ------
    InvalidInput
        The model holds none, so there is nothing to look at.
    """
    found: list[nn.Module] = [
        module for module in model.modules() if isinstance(module, Activation | nn.ReLU)
    ]
    if not found:
        raise InvalidInput(
            f"{type(model).__name__} holds no activation module that can be monitored: "
            "use the modules of sparsefield.nn or torch.nn.ReLU, not their functions"
        )
    return found
