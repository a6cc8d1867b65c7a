"""The command that times: rivals side by side on a trained model or a named shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sparsefield.errors import InvalidInput

from .answer import show

if TYPE_CHECKING:
    from sparsefield.bench.run import Progress

_POOL = 512  # random inputs to take batches from


def bench(
    subject: Annotated[str, tyro.conf.Positional],
    sparsity: float | None = None,
    batch: str = "1,128",
    rivals: str | None = None,
    seconds: float = 2.0,
    layers: int = 6,
    no_crossover: bool = False,
    threads: int | None = None,
    data: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Time a network beside its rivals: PyTorch, onnxruntime, OpenVINO, the engine.

    Parameters
    ----------
    subject
        a run directory of `sparsefield train`, or a shape: dnn-DEPTHxWIDTH[-inN][-inner]
        [-skipA], cnn-DEPTHxCHANNELSxSIZE[-inner][-skipA][-circular]
    sparsity
        share of zeros that a shape is solved for; 0.9 unless given
    batch
        samples a call, comma-separated
    rivals
        comma-separated, from eager, channels_last, compile, compile-frozen, onnxruntime, openvino,
        embedding_bag, csr, engine; by default all
    seconds
        to time each of them for each batch; single layers and the crossover take a part of it
    layers
        how many layers to time alone, spread over the depth; 0: none
    no_crossover
        leave out the table of density x batch
    threads
        of every rival; by default as many as PyTorch chooses
    data
        dataset whose test images a trained model reads, where not the one of its config
    out
        the picture, ending in svg, png or pdf; by default bench-SUBJECT.svg, none with --json
    json
        print one JSON object and nothing else
    """
    from sparsefield.bench import RIVALS, named_rivals
    from sparsefield.bench import bench as run
    from sparsefield.pictures.bench import bench_figure
    from sparsefield.pictures.saving import picture_path

    chosen = named_rivals(RIVALS if rivals is None else _words("rivals", rivals))
    batches = _sizes(batch)
    label = Path(subject).resolve().name
    picture = out or (None if json else Path(f"bench-{label}.svg"))
    if picture:
        picture_path(picture)
    with _threads(threads), _progress(shown=not json) as progress:
        from sparsefield.train.environment import hardware, versions

        asked = _subject(subject, sparsity, data, batches)
        result = run(
            **asked,
            subject=label,
            batches=batches,
            rivals=chosen,
            seconds=seconds,
            layers=layers,
            crossover=not no_crossover,
            hardware=hardware(),
            versions=versions(),
            progress=progress,
        )
    show(result, picture, lambda: bench_figure(result.to_dict()), label="\npicture  ", json=json)


def _subject(
    name: str, sparsity: float | None, data: str | None, batches: list[int]
) -> dict[str, Any]:
    """The model, its inputs, and what to say of them."""
    if (Path(name) / "config.yaml").exists():
        if sparsity is not None:
            raise InvalidInput(f"--sparsity {sparsity:g}: {name} is trained already; leave it out")
        return _trained(Path(name), data)
    if data is not None:
        raise InvalidInput(f"--data {data}: only a trained model reads data; leave it out")
    if "/" in name or (Path(name).is_dir() and not name.startswith(("dnn-", "cnn-"))):
        raise InvalidInput(f"{name}: there is no run of `sparsefield train`; give its directory")
    return _shaped(name, 0.9 if sparsity is None else sparsity, batches)


def _trained(directory: Path, data: str | None) -> dict[str, Any]:
    from sparsefield.train import load_config, load_model
    from sparsefield.train.network import held_out_inputs

    config = load_config(directory / "config.yaml")
    model = load_model(directory)
    kind = f"{config.network} {config.depth} x {config.width}, skip {config.skip:g}"
    described = f"trained {kind}, test images of {Path(data or config.data).name}"
    return {
        "model": model,
        "inputs": held_out_inputs(directory, model, data),
        "described": described,
        "sparsity_target": config.sparsity,
    }


def _shaped(name: str, sparsity: float, batches: list[int]) -> dict[str, Any]:
    from sparsefield.bench import named_shape
    from sparsefield.theory import solve

    shape = named_shape(name)
    point = solve("crelu", sparsity=sparsity, q=1.0, clip=1.0)
    inputs = "random activations as inputs" if shape.inner else "random inputs"
    return {
        "model": shape.build(point),
        "inputs": shape.random_inputs(max(_POOL, *batches), point),
        "described": f"untrained (CReLU, q* 1, clip 1), {inputs}",
        "sparsity_target": sparsity,
    }


def _words(flag: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InvalidInput(f"--{flag} {text!r}: must be a list such as a,b; one item is empty")
    return words


def _sizes(text: str) -> list[int]:
    words = _words("batch", text)
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise InvalidInput(f"--batch {text!r}: must be whole numbers from 1 on; try 1,128")
    return sorted({int(word) for word in words})


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch's number of threads, which every rival follows, for this command."""
    import torch

    if count is not None and count < 1:
        raise InvalidInput(f"--threads {count}: must be at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    """What is being timed, on the terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda stage: None
        return
    with console.status("") as status:
        yield lambda stage: status.update(f"timing: {stage}")
