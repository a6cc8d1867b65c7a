"""PyTorch's own ways to use zeros: ``embedding_bag`` and CSR, compaction inside the call."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from sparsefield.engine.gather import gather

from .making import Absent, quiet
from .seen import seeing


class _Transposed(nn.Module):
    """A linear layer with the rows of W^T in one piece each."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.table = layer.weight.detach().t().contiguous()
        self.bias = layer.bias


class EmbeddingBagLinear(_Transposed):
    """A linear layer as weighted sums of the rows of W^T that the non-zeros of each sample name."""

    def forward(self, a: Tensor) -> Tensor:
        sums = gather(a.reshape(-1, a.shape[-1]), self.table, self.bias)
        return sums.reshape(*a.shape[:-1], -1)


class CSRLinear(_Transposed):
    """A linear layer as a sparse matrix of activations, in PyTorch's CSR form, times W^T."""

    def forward(self, a: Tensor) -> Tensor:
        product = a.reshape(-1, a.shape[-1]).to_sparse_csr() @ self.table
        product = product if self.bias is None else product.add_(self.bias)
        return product.reshape(*a.shape[:-1], -1)


def embedding_bag(model: nn.Module, sample: Tensor) -> nn.Module:
    """The model with :class:`EmbeddingBagLinear` where a Linear reads an activation."""
    return _substituted(model, sample, EmbeddingBagLinear)


def csr(model: nn.Module, sample: Tensor) -> nn.Module:
    """The model with :class:`CSRLinear` where a Linear reads an activation."""
    found = _substituted(model, sample, CSRLinear)
    with quiet():  # "support is in beta state", said once a process
        found(sample)
    return found


def _substituted(
    model: nn.Module, sample: Tensor, kind: Callable[[nn.Linear], nn.Module]
) -> nn.Module:
    """A copy of the model with its sparse Linear layers replaced; dense inputs stay dense.

    Raises
    ------
    Absent
        no Linear reads an activation.
    """
    names: list[str] = []
    with seeing(model, lambda seen: names.append(seen.name) if seen.activation else None):
        model(sample)
    changed = copy.deepcopy(model)
    linear = [name for name in names if isinstance(changed.get_submodule(name), nn.Linear)]
    if not linear:
        raise Absent("no Linear layer here reads an activation")
    for name in dict.fromkeys(linear):
        layer = changed.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        changed.set_submodule(name, kind(layer))
    return changed
