"""The compiled kernels, where the package was built with a compiler."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefield.errors import InvalidInput

from .phi import CODES
from .products import Chain

Storage = Literal["float32", "bfloat16", "int8"]
STORAGES: dict[Storage, int] = {"float32": 0, "bfloat16": 1, "int8": 2}  # as in csrc/chain.h
STORED_BYTES: dict[Storage, int] = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a weight


@cache
def kernels() -> Any | None:
    """The extension module, or None without one."""
    try:
        return import_module("sparsefield.engine._native")
    except ImportError:
        return None


def instruction_set() -> str | None:
    """The best of this machine that the kernels were built for."""
    module = kernels()
    return None if module is None else str(module.instruction_sets()[0])


class Packed:
    """The weights of a chain, packed for the kernels.

    Parameters
    ----------
    chain
        its weights are copied.
    storage
        the format to hold them in.
    threads
        that the outputs of a layer are to be shared by.
    instruction_set
        by default the best.

    Raises
    ------
    InvalidInput
        an instruction set that this machine does not have.
    """

    def __init__(
        self, chain: Chain, storage: Storage, threads: int, instruction_set: str = ""
    ) -> None:
        module = kernels()
        assert module is not None
        present = module.instruction_sets()
        if instruction_set not in ("", *present):
            raise InvalidInput(
                f"instruction set {instruction_set!r}: choose one of {', '.join(present)}"
            )
        self.convolutional = chain.convolutional
        self.outputs = [product.outputs for product in chain.products]
        before = chain.before
        self._native = module.Chain(
            chain.convolutional, CODES[before.kind], before.tau, before.m, instruction_set
        )
        for product in chain.products:
            window = product.window
            skip = product.skip if product.keeps_size else 0.0
            scale = math.sqrt(1.0 - skip)
            weight = (product.weight * scale).contiguous()
            bias = None if product.bias is None else (product.bias * scale).contiguous()
            self._native.add(
                weight=weight.data_ptr(),
                bias=0 if bias is None else bias.data_ptr(),
                outputs=product.outputs,
                inputs=product.inputs,
                window=[1, 1, 1, 1, 0, 0] if window is None else [*sum(window[:3], ())],
                circular=window is not None and window.circular,
                format=STORAGES[storage],
                phi=CODES[product.phi.kind],
                tau=product.phi.tau,
                m=product.phi.m,
                alpha=math.sqrt(skip),
                threads=1 if chain.convolutional else threads,  # those share pixels
            )

    def run(
        self,
        x: Tensor,
        layers: tuple[int, int],
        size: tuple[int, int],
        *,
        raw: bool,
        threads: int,
        together: bool,
        rows: int,
        active: NDArray[np.int64] | None = None,
    ) -> Tensor:
        """Run layers [first, last) on contiguous ``x``, [batch, values] or [batch, ..., channels].

        Parameters
        ----------
        x
            the input of layer ``first`` = 0, or h of the layer before.
        size
            height and width of the images after the last layer.
        raw
            return h of the last layer rather than phi(h).
        rows
            address of uint8 per layer, 1 where it multiplies by every input.
        active
            per layer, to which the number of active inputs met is added.
        """
        batch, outputs = x.shape[0], self.outputs[layers[1] - 1]
        images = self.convolutional
        out = torch.empty((batch, *size, outputs) if images else (batch, outputs))
        height, width = (x.shape[1], x.shape[2]) if images else (1, 1)
        self._native.run(
            x.data_ptr(),
            out.data_ptr(),
            batch,
            height,
            width,
            layers[0],
            layers[1],
            raw,
            threads,
            together,
            rows,
            0 if active is None else active.ctypes.data,
        )
        return out
