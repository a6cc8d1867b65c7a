"""What an activation is, and which modules of a model are to be watched."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sparsefield.errors import InvalidInput


def is_activation(module: nn.Module) -> bool:
    """Whether ``module`` is a ReLU, or of a class that says ``is_activation = True`` of itself.

    Such a class may say at what height it clips, ``m``. Those of ``sparsefield.nn`` do both; one
    of your own may.

    >>> is_activation(nn.ReLU()), is_activation(nn.Linear(2, 2))
    (True, False)
    """
    return isinstance(module, nn.ReLU) or getattr(type(module), "is_activation", False) is True


def modules_of(model: nn.Module, wanted: Callable[[nn.Module], bool]) -> dict[str, nn.Module]:
    """Those modules of ``model`` that are wanted, by name, in the order of their registration.

    The model itself goes by the name of its class, and what torch.compile has wrapped by that of
    what it was made of.
    """
    return {
        _name(name) or type(module).__name__: module
        for name, module in model.named_modules()
        if wanted(module)
    }


def _name(path: str) -> str:
    """As before torch.compile.

    >>> _name("blocks.0._orig_mod.relu")
    'blocks.0.relu'
    """
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def activation_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The activation modules of ``model``, by name.

    Raises
    ------
    InvalidInput
        The model holds none, so there is nothing to look at.
    """
    found = modules_of(model, is_activation)
    if not found:
        raise InvalidInput(
            f"{type(model).__name__} holds no activation module that can be watched: "
            "use the modules of sparsefield.nn or torch.nn.ReLU, not their functions"
        )
    return found
