"""From rivals to contenders: made, warmed up, and checked before any clock starts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .making import Call
from .rivals import Rival

Status = Literal["timed", "absent", "wrong"]
_RTOL = 1e-4  # of a value, and of the largest one: fp32 sums in another order, layer upon layer


@dataclass(frozen=True)
class Contender:
    """A rival made for one model and batch size.

    Attributes
    ----------
    rival
        what it was made from.
    status
        ``timed`` if it may be; ``absent`` (not installed, cannot take the model) or ``wrong``
        (its outputs are not eager's), which are reported and not timed.
    reason
        why, in words; empty for ``timed``.
    call
        the callable; None unless ``timed``.
    backend, threads
        what it says of itself, or the empty string and PyTorch's number.
    prepare_s
        seconds to make it and for its first call: compilation, export, packing, dispatch.
    """

    rival: Rival
    status: Status
    reason: str
    call: Call | None
    backend: str
    threads: int
    prepare_s: float


def prepare(
    rivals: Iterable[Rival], model: nn.Module, batches: Sequence[Tensor]
) -> list[Contender]:
    """Make each rival for ``model`` on batches of one shape; none is left out."""
    with torch.inference_mode():
        expected = [model(x) for x in batches]
    return [_prepared(rival, model, batches, expected) for rival in rivals]


def disagreement(got: Tensor, expected: Tensor) -> str:
    """In words, how ``got`` differs from eager's output; empty where it does not."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"{got.dtype} {list(got.shape)} for {expected.dtype} {list(expected.shape)}"
    scale = float(expected.abs().amax()) if expected.numel() else 0.0
    if torch.allclose(got, expected, rtol=_RTOL, atol=_RTOL * scale, equal_nan=True):
        return ""
    error = float((got - expected).abs().amax())
    return f"off by {error:.3g} where the largest output is {scale:.3g}"


def _prepared(
    rival: Rival, model: nn.Module, batches: Sequence[Tensor], expected: Sequence[Tensor]
) -> Contender:
    start = time.perf_counter()
    try:
        call = rival.make(model, batches[0])
        with torch.inference_mode():
            call(batches[0])
            seconds = time.perf_counter() - start
            reason = _first_wrong(call, batches, expected)
            for x in batches:
                call(x)
    except Exception as error:  # a rival may fail in ways of its own, and must not stop the rest
        return _out(rival, "absent", _one_line(error))
    if reason:
        return _out(rival, "wrong", reason)
    backend = str(getattr(call, "backend", ""))
    threads = int(getattr(call, "threads", torch.get_num_threads()))
    return Contender(rival, "timed", "", call, backend, threads, seconds)


def _first_wrong(call: Call, batches: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    reasons = (disagreement(call(x), y) for x, y in zip(batches, expected, strict=True))
    return next((reason for reason in reasons if reason), "")


def _out(rival: Rival, status: Status, reason: str) -> Contender:
    return Contender(rival, status, reason, None, "", torch.get_num_threads(), 0.0)


def _one_line(error: Exception) -> str:
    """The first line of the message; the kind of error unless it is one of ours."""
    first = next(iter(str(error).strip().splitlines()), "")
    if type(error).__module__.startswith("sparsefield"):
        return first
    return f"{type(error).__name__}: {first}"
