"""The order of the training images: a pure function of seed and step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsefield.errors import InvalidInput


class Batches:
    """Batches by index from tensors that stay on the device.

    Parameters
    ----------
    images, labels
        The training set, [n, ...] and [n].
    chosen
        Indices of the samples to train on, int64; all of them by default.
    batch
        Images per step over all processes; the last partial batch of an epoch is dropped.
    seed
        With the number of the epoch it fixes the epoch's order.
    rank, world
        Which share of each batch this process takes.

    Raises
    ------
    InvalidInput
        A batch larger than the training set.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        chosen: Tensor | None = None,
        *,
        batch: int,
        seed: int,
        rank: int,
        world: int,
    ) -> None:
        self._chosen = torch.arange(len(labels)) if chosen is None else chosen
        self.per_epoch = per_epoch(len(self._chosen), batch)
        self._images, self._labels = images, labels
        self._batch, self._seed = batch, seed
        share = batch // world
        self._share = slice(rank * share, (rank + 1) * share)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Give images and labels of this process's share of the batch of ``step`` (from 0)."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = self._chosen[epoch_order(len(self._chosen), self._seed, epoch)]
            self._epoch, self._order = epoch, order.to(self._labels.device)
        chosen = self._order[position * self._batch : (position + 1) * self._batch][self._share]
        return self._images[chosen], self._labels[chosen]


def per_epoch(samples: int, batch: int) -> int:
    """Whole batches in a pass over so many samples.

    Raises
    ------
    InvalidInput
        None: the batch is larger than the training set.
    """
    if batch > samples:
        raise InvalidInput(
            f"batch={batch}: larger than the training set of {samples}; give a smaller one"
        )
    return samples // batch


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 .. size - 1 for ``epoch`` (from 0), int64, on the CPU."""
    stream = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
    return torch.randperm(size, generator=torch.Generator().manual_seed(int(stream)))
