"""An engine as one file: the weights, what they are for, and what was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from .engine import Engine
from .native import STORAGES, Storage, kernels
from .parts import Between, Part, flatten
from .phi import CODES, Phi
from .plan import Plan, plan_from_dict
from .products import Chain, Product, Window

_FORM = 1  # of the file
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
    nn.AvgPool2d: (
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
        "divisor_override",
    ),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.AdaptiveMaxPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
}
_KINDS = {kind.__name__: kind for kind in _ARGUMENTS}


def save_engine(engine: Engine, path: str | Path) -> None:
    """Write an engine to ``path`` (safetensors): float32 weights, and the plans as measured.

    Raises
    ------
    InvalidInput
        a part of it is a module of yours (save that model instead), or there is no such directory.
    """
    if not isinstance(engine, Engine):
        raise InvalidInput(
            f"{type(engine).__name__}: an engine file holds a chain of layers; save the model, and "
            "accelerate it where it is loaded"
        )
    target = Path(path)
    if not target.parent.is_dir():
        raise InvalidInput(f"{target}: there is no directory {target.parent}; make it first")
    tensors: dict[str, Tensor] = {}
    parts = [_described(part, tensors) for part in engine.parts]
    content: dict[str, Any] = {
        "form": _FORM,
        "weights": engine.storage,
        "parts": parts,
        "plans": [[plan.to_dict() for plan in runner.plans] for runner in engine.runners],
        "density": [runner.density.tolist() for runner in engine.runners],
    }
    content["digest"] = _digest(content, tensors)
    aside = target.with_name(target.name + ".partial")
    try:
        aside.write_bytes(save(tensors, {"sparsefield.engine": json.dumps(content)}))
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InvalidInput(f"{target}: cannot be written ({error.strerror or error})") from None


def load_engine(path: str | Path) -> Engine:
    """Read an engine that :func:`save_engine` wrote.

    The plans are those of the machine that measured them; ``engine.measure(sample)`` makes new.

    Raises
    ------
    InvalidInput
        no such file, one that is damaged or something else, or weights that this build has no
        kernels for.
    """
    try:
        content, tensors = _read(Path(path))
        parts = [_part(described, tensors) for described in content["parts"]]
        storage = _storage(content)
        if kernels() is not None or storage == "float32":
            return _measured(Engine(parts, storage), content)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, AttributeError) as error:
        raise InvalidInput(
            f"{path}: is damaged or no engine ({type(error).__name__}: {error}); "
            "accelerate the model again and save it"
        ) from None
    raise InvalidInput(
        f"{path}: holds {storage} weights, which need the compiled kernels; build with a compiler"
    )


def _measured(engine: Engine, content: Mapping[str, Any]) -> Engine:
    """The engine with the plans and densities of the file."""
    for runner, plans, density in zip(
        engine.runners, content["plans"], content["density"], strict=True
    ):
        runner.plans = _plans(plans, len(runner.chain.products))
        runner.density = _densities(density, len(runner.chain.products))
    return engine


def _storage(content: Mapping[str, Any]) -> Storage:
    for known in STORAGES:
        if content["weights"] == known:
            return known
    raise ValueError(f"weights {content['weights']!r}")


def _plans(content: Any, count: int) -> tuple[Plan, ...]:
    plans = tuple(plan_from_dict(plan) for plan in content)
    if not plans or any(len(plan.crossover) != count for plan in plans):
        raise ValueError(f"{len(plans)} plans for {count} layers")
    return plans


def _densities(values: Any, count: int) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.shape != (count,):
        raise ValueError(f"{found.shape} densities for {count} layers")
    return found


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        content = json.loads((file.metadata() or {})["sparsefield.engine"])
        if content["form"] != _FORM:
            raise ValueError(f"form {content['form']}, this version reads {_FORM}")
        # copied into memory of its own, aligned: PyTorch's sums take an order by that
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if content.pop("digest") != _digest(content, tensors):
        raise ValueError("it is not what was written")
    return content, tensors


def _described(part: Part, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A part as JSON; its weights go to ``tensors``."""
    if isinstance(part, Chain):
        products = [_product(product, tensors) for product in part.products]
        return {"products": products, "before": _phi(part.before)}
    if part.module is flatten:
        return {"name": part.name, "module": "flatten"}
    if isinstance(part.module, Phi):
        return {"name": part.name, "module": "phi", "phi": _phi(part.module)}
    kind = type(part.module)
    if part.reason is not None or kind not in _ARGUMENTS:
        raise InvalidInput(
            f"{part.name}: {kind.__name__} runs as a module of yours, which an engine file cannot "
            "hold; save the model, and accelerate it where it is loaded"
        )
    arguments = {name: getattr(part.module, name) for name in _ARGUMENTS[kind]}
    return {"name": part.name, "module": kind.__name__, "arguments": arguments}


def _product(product: Product, tensors: dict[str, Tensor]) -> dict[str, Any]:
    # copies: layers may share weights, which a file cannot
    tensors[f"{product.name}.weight"] = product.weight.clone(memory_format=torch.contiguous_format)
    if product.bias is not None:
        tensors[f"{product.name}.bias"] = product.bias.clone(memory_format=torch.contiguous_format)
    return {
        "name": product.name,
        "bias": product.bias is not None,
        "window": product.window,
        "phi": _phi(product.phi),
        "skip": product.skip,
    }


def _phi(phi: Phi) -> list[Any]:
    return [phi.kind, phi.tau, None if phi.m == float("inf") else phi.m]  # JSON has no infinity


def _part(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Part:
    if "products" in content:
        products = tuple(_loaded(product, tensors) for product in content["products"])
        return Chain(products, _loaded_phi(content["before"]))
    if content["module"] == "flatten":
        return Between(content["name"], flatten)
    if content["module"] == "phi":
        return Between(content["name"], _loaded_phi(content["phi"]))
    arguments = {name: _tupled(value) for name, value in content["arguments"].items()}
    return Between(content["name"], _KINDS[content["module"]](**arguments))


def _loaded(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Product:
    name = content["name"]
    window = content["window"]
    return Product(
        name,
        tensors[f"{name}.weight"],
        tensors[f"{name}.bias"] if content["bias"] else None,
        None if window is None else Window(*map(_tupled, window)),
        _loaded_phi(content["phi"]),
        float(content["skip"]),
    )


def _loaded_phi(content: Any) -> Phi:
    kind, tau, m = content
    if kind not in CODES:
        raise ValueError(f"activation {kind!r}")
    return Phi(kind, float(tau), float("inf") if m is None else float(m))


def _tupled(value: Any) -> Any:
    """JSON's lists are tuples here."""
    return tuple(value) if isinstance(value, list) else value


def _digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of the description, and of the names, shapes and bytes of all weights."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
