"""The product of a fully connected layer without compiled kernels, by ``F.embedding_bag``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gather(y: Tensor, table: Tensor, bias: Tensor | None) -> Tensor:
    """W y + b from the rows of the active inputs alone.

    Parameters
    ----------
    y
        ``[batch, in]``, mostly zeros.
    table
        ``W^T``, ``[in, out]``, contiguous.
    bias
        ``[out]`` or None.

    >>> y, weight = torch.tensor([[0.0, 2.0, 0.0]]), torch.ones(4, 3)
    >>> gather(y, weight.t().contiguous(), None)
    tensor([[2., 2., 2., 2.]])
    """
    flat, width = y.reshape(-1), y.shape[1]
    # the fastest of PyTorch's ways to compact: a mask first (NaN is active), offsets by bisection
    places = (flat != 0).nonzero().squeeze(1)
    offsets = torch.searchsorted(places, torch.arange(0, len(flat), width))
    sums = F.embedding_bag(
        places.remainder(width),
        table,
        offsets,
        mode="sum",
        per_sample_weights=flat.index_select(0, places),
    )
    return sums if bias is None else sums.add_(bias)
