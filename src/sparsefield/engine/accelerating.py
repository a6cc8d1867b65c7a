"""accelerate(): a model that skips the zeros of its activations, with the same outputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Literal, overload

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN
from sparsefield.nn.order import Sample

from .anymodel import Accelerated, accelerate_any
from .calling import call_with
from .engine import Engine
from .forking import one_thread_if_forked
from .layer_choice import Choice, choice_by_name
from .layers import holds_layers, hooked, is_layer
from .native import STORAGES, Storage, kernels
from .parts import Between, Part, Unreadable, parts_of
from .products import Chain
from .training import TrainingEngine, train_engine
from .training_any import train_any


@overload
def accelerate(
    model: nn.Module,
    sample: Sample,
    *,
    storage: Storage = "float32",
    dispatch: Choice | Mapping[str, Choice] = "measure",
    batches: Iterable[int] | None = None,
    train: Literal[False] = False,
) -> Engine | Accelerated: ...
@overload
def accelerate(model: nn.Module, sample: Sample, *, train: Literal[True]) -> TrainingEngine: ...
def accelerate(
    model: nn.Module,
    sample: Sample,
    *,
    storage: Storage = "float32",
    dispatch: Choice | Mapping[str, Choice] = "measure",
    batches: Iterable[int] | None = None,
    train: bool = False,
) -> Engine | Accelerated | TrainingEngine:
    """A callable with the model's outputs that skips the zeros of its activations.

    :class:`~sparsefield.DNN`, :class:`~sparsefield.CNN` and ``nn.Sequential`` chains of Linear,
    Conv2d, BatchNorm, activations, pooling and flatten become an engine as a whole. In a model of
    any other class, layers that follow one another do, and sums, concatenations, attention, norms
    and what else there is run as they are; where its forward cannot be traced, its layers do one by
    one. A layer that cannot be taken runs as it is, and is named. Where sparse is not faster, by
    measurement on ``sample``, a layer runs dense, and so does the model.

    Parameters
    ----------
    model
        float32 on the CPU; its weights are copied into the engine's own layout.
    sample
        ``[batch, ...]``, real inputs: their zeros and this machine decide what runs sparse. Of a
        model with several inputs the arguments of a call: a tuple, or a dictionary of keywords.
    storage
        ``float32``; or ``bfloat16`` or ``int8`` (one scale per output), which move fewer bytes
        and change the outputs: see :func:`~sparsefield.engine.rounding`. A warning says at which
        batch sizes that is not faster.
    dispatch
        ``measure``; or ``sparse`` or ``dense`` for all layers, or by layer name, where there is
        such a way (convolutions have no sparse one without kernels, and no dense one with
        rounded weights).
    batches
        batch sizes to measure; by default 1 and the sample's. A call follows the nearest.
    train
        instead, a module over the same parameters that trains on lists: layers that read an
        activation. It takes none of the options above.

    Returns
    -------
    The engine; its ``repr`` and ``layers`` show what was chosen. For a model of another class,
    :class:`~sparsefield.engine.Accelerated`, which is called as the model is. With ``train``, a
    :class:`~sparsefield.engine.TrainingEngine`.

    Raises
    ------
    InvalidInput
        another dtype or device, an input that does not fit, or no layer that it knows.

    >>> import torch
    >>> from sparsefield import DNN, accelerate, solve
    >>> model = DNN(64, 100, 5, 10, solve("crelu", sparsity=0.9, q=4.0, clip=1.1))
    >>> x = torch.randn(32, 64)
    >>> engine = accelerate(model, x)
    >>> torch.allclose(engine(x), model(x), rtol=1e-4, atol=1e-4)
    True
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given
    _check_real(model)
    if train:
        if (storage, dispatch, batches) != ("float32", "measure", None):
            raise InvalidInput("train=True: takes neither storage, dispatch nor batches")
        if _trains_whole(model, sample):
            return train_engine(model, sample)  # type: ignore[arg-type]
        return train_any(model, call_with(sample))
    if storage not in STORAGES:
        raise InvalidInput(f"storage {storage!r}: choose one of {', '.join(STORAGES)}")
    if storage != "float32" and kernels() is None:
        raise InvalidInput(f"storage {storage}: needs the compiled kernels; build with a compiler")
    one_thread_if_forked()
    parts = _whole_chain(model, sample)
    if parts is None:
        fast = accelerate_any(model, call_with(sample), storage, dispatch, batches)
        _warn(fast.warnings())
        return fast
    assert isinstance(sample, Tensor)
    engine = Engine(parts, storage, model=model)
    choice_by_name(dispatch, engine.runners)  # before seconds are spent
    engine.measure(sample, batches)
    _warn(engine.reservations())
    engine.override(dispatch)
    return engine


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        warnings.warn(f"accelerate: {line}", stacklevel=3)


def _trains_whole(model: nn.Module, sample: Sample) -> bool:
    """Whether the model trains as a chain; the papers' networks do, or are refused as such."""
    papers = type(model) in (DNN, CNN) and isinstance(sample, Tensor)
    return papers or _whole_chain(model, sample, training=True) is not None


def _whole_chain(
    model: nn.Module, sample: Sample, *, training: bool = False
) -> tuple[Part, ...] | None:
    """The parts of a model that is read whole as a chain; None for a model of another class.

    Raises
    ------
    InvalidInput
        a model that holds no layer to take, or weights of another type.
    """
    try:
        parts = parts_of(model, training=training)
    except Unreadable:
        return None
    unread = {part.name: part.reason for part in parts if isinstance(part, Between) and part.reason}
    nothing = not any(isinstance(part, Chain) for part in parts)
    if nothing and (hooked(model) or not (is_layer(model) or holds_layers(model))):
        reasons = "".join(f"; {name}: {reason}" for name, reason in unread.items())
        name = type(model).__name__
        raise InvalidInput(f"{name}: holds no Linear or Conv2d that it can take{reasons}")
    inner = [part.module for part in parts if isinstance(part, Between) and part.name in unread]
    composite = any(isinstance(m, nn.Module) and not hooked(m) and holds_layers(m) for m in inner)
    return None if nothing or composite or not isinstance(sample, Tensor) else parts


def _check_real(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device.type == "meta" or is_lazy(tensor):
            raise InvalidInput(
                f"{name}: is on meta or not yet made, and holds no values; load the weights "
                "(load_state_dict(..., assign=True)), then model.float().cpu()"
            )
