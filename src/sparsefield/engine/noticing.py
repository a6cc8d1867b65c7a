"""A model that is not traced: its layers notice when they read what an activation has given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from .layers import hooked, is_layer, obstacle, product_of
from .partition import WHERE_ACTIVE
from .phi import phi_of
from .products import Chain
from .training_piece import TrainingPiece
from .twins import twin_of

_MARK = "_zeros_of_an_activation"  # of a tensor: its version when an activation gave it
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)


class Noticing:
    """A twin of a model, in the modes of the model's modules, that trains on lists.

    Attributes
    ----------
    pieces
        by name of the layer.
    reasons
        why layers are in none.
    """

    def __init__(self, model: nn.Module) -> None:
        self._root = twin_of(model)
        self._pairs = tuple(zip(model.modules(), self._root.modules(), strict=True))
        self.pieces: dict[str, TrainingPiece] = {}
        self.reasons: dict[str, str] = {}
        for name, module in self._root.named_modules():
            forward = None if hooked(module) else self._forward_of(name, module)
            if forward is not None:
                vars(module)["forward"] = forward

    def _forward_of(self, name: str, module: nn.Module) -> Callable[[Tensor], Tensor] | None:
        if phi_of(module) is not None:
            return _Marking(module.forward)
        if type(module) in _DROPOUTS:
            return _Passing(module.forward)
        if not is_layer(module):
            return None
        reason = obstacle(module)
        if reason is not None:
            self.reasons[name] = reason
            return None
        chain = Chain((product_of(module, name),), WHERE_ACTIVE)
        piece = self.pieces[name] = TrainingPiece(chain, (module.forward,))
        piece.contiguous = True  # nobody knows who looks
        return _Reading(piece, module.forward)

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The model's output."""
        for module, twin in self._pairs:
            vars(twin)["training"] = module.training
        return self._root(*args, **kwargs)


class _Marking:
    """An activation, whose zeros are where it is flat."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        y = self._forward(x)
        if not y.is_inference():
            setattr(y, _MARK, y._version)
        return y


class _Passing(_Marking):
    """What puts zeros in the place of some values at most."""

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) if _marked(x) else self._forward(x)


class _Reading:
    """A layer: a piece where it reads an activation's zeros, else as it is."""

    def __init__(self, piece: TrainingPiece, forward: Callable[[Tensor], Tensor]) -> None:
        self._piece, self._forward = piece, forward

    def __call__(self, x: Tensor) -> Tensor:
        return self._piece(x) if _marked(x) else self._forward(x)


def _marked(x: Tensor) -> bool:
    """Whether an activation has given x, and nothing has written into it since."""
    return not x.is_inference() and getattr(x, _MARK, None) == x._version
