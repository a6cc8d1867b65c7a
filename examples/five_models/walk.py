"""The walk that the five models take: from a class to a file that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

import sparsefield as sf
from sparsefield.nn.table import SparsifyRow

POINT = sf.solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Walked:
    """The tables that a walk prints, and what it computed on the way."""

    table: sf.SparsifyTable
    losses: tuple[float, ...]
    dense: tuple[dict[str, str], dict[str, str]]
    answers: dict[str, Tensor]


def walk(make: Callable[[], nn.Module], x: Tensor, loss: Loss, folder: Path) -> Walked:
    """Make it sparse, train it, accelerate it, save it, load it, export it."""
    torch.manual_seed(0)
    model = make()
    table = sf.sparsify_(model, POINT, x)

    training = sf.accelerate(model, x, train=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(training(x))
        value.backward()
        optimizer.step()
        losses.append(value.item())

    fast = sf.accelerate(model.eval(), x)
    answers = {"model": model(x).detach(), "engine": fast(x)}

    save_model(model, folder / "model.safetensors")
    loaded = make()
    sf.sparsify_(loaded, POINT, x)  # puts the activations in; the file has their constants
    load_model(loaded, folder / "model.safetensors")
    answers["loaded"] = loaded.eval()(x).detach()
    answers |= exported(loaded, x, folder / "model.onnx")
    return Walked(table, tuple(losses), (fast.runs_dense, training.runs_dense), answers)


def exported(model: nn.Module, x: Tensor, path: Path) -> dict[str, Tensor]:
    """The answers of onnxruntime; none where it is not installed."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  the exporter needs it
    except ImportError:
        return {}
    torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return {"onnxruntime": torch.from_numpy(answer)}


def loss_of_colour(images: Tensor) -> Loss:
    """Cross entropy with the colour that an image has most of."""
    return partial(F.cross_entropy, target=images.mean((2, 3)).argmax(1))


def show(make: Callable[[], nn.Module], x: Tensor, loss: Loss) -> Walked:
    """Walk, and print what came of it."""
    with TemporaryDirectory() as folder:
        walked = walk(make, x, loss, Path(folder))
    print(f"loss {walked.losses[0]:.3f} to {walked.losses[-1]:.3f}")
    for name, answer in walked.answers.items():
        difference = (answer - walked.answers["model"]).abs().max()
        print(f"{name}: differs from the model by {difference:.1e}")
    print(in_markdown(make(), walked))
    return walked


LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
HEAD = "| part | is | zeros promised | measured | lists in a call | in training | why not |"
MEASURED = "by measurement it is no faster on lists"


def in_markdown(model: nn.Module, walked: Walked) -> str:
    """The zeros of each activation, and whether each layer can go on lists."""
    parts = dict(model.named_modules())
    lines = [HEAD, "|---|---|---|---|---|---|---|"]
    for row in walked.table.rows:
        if row.zeros is not None:
            lines.append(f"| `{row.name}` | {row.kind} | {zeros(row)} |")
        elif isinstance(parts.get(row.name), LAYERS) and row.q is not None:
            lines.append(f"| `{row.name}` | {row.kind} | | | {lists(row.name, walked)} |")
    return "\n".join(lines)


def zeros(row: SparsifyRow) -> str:
    """Promised, measured, and what theory cannot vouch for."""
    promised = "none" if row.promised_zeros is None else f"{row.promised_zeros:.1%}"
    return f"{promised} | {row.zeros:.1%} | | | {row.unvouched}"


def lists(name: str, walked: Walked) -> str:
    """Whether a layer can go on lists, whatever this machine found to be faster."""
    call, training = walked.dense
    reasons = call.get(name, MEASURED), training.get(name, call.get(name, MEASURED))
    can = ["yes" if reason == MEASURED else "no" for reason in reasons]
    why = dict.fromkeys(reason for reason in reasons if reason != MEASURED)
    return f"{can[0]} | {can[1]} | {'; '.join(why)}"
