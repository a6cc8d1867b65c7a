"""Which training samples are kept apart to choose between runs by."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsefield.errors import InvalidInput


def split(samples: int, share: float) -> tuple[Tensor, Tensor]:
    """Part the samples 0 .. ``samples`` - 1: those to train on, and ``share`` of them to validate.

    The parting depends on nothing but the two numbers, so that runs of any seed are judged by the
    same samples. Both parts are ascending, int64.

    Raises
    ------
    InvalidInput
        A share of a small set that leaves nothing to train on or nothing to validate with.

    >>> train, held_out = split(10, 0.2)
    >>> len(train), len(held_out), split(10, 0.0)[1].tolist()
    (8, 2, [])
    """
    count = round(share * samples)
    if share and not 0 < count < samples:
        raise InvalidInput(
            f"validation={share:g}: is {count} of {samples} training samples; some must be left "
            "on either side: give another share, or 0"
        )
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(samples))
    return order[count:].sort().values, order[:count].sort().values
