"""A model again, over the same parameters: what is done to its twin leaves the model as it is."""

from __future__ import annotations

from torch import nn


def twin_of(module: nn.Module, *, evaluating: bool = False) -> nn.Module:
    """The module and all within it again, sharing parameters, buffers and all else they hold.

    With ``evaluating`` the twin is in evaluation mode; a module used twice has one twin.
    """
    return _twin(module, evaluating, {})


def _twin(module: nn.Module, evaluating: bool, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    twin: nn.Module = object.__new__(type(module))
    made[id(module)] = twin
    twin.__dict__.update(module.__dict__)
    children = {
        name: None if child is None else _twin(child, evaluating, made)
        for name, child in module._modules.items()
    }
    twin.__dict__.update(_modules=children)
    if evaluating:
        twin.__dict__.update(training=False)
    return twin
