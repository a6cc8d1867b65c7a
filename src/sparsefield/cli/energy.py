"""``sparsefield energy``: the ledger of a trained network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sparsefield.errors import InvalidInput

from .answer import show

if TYPE_CHECKING:
    from torch import Tensor, nn

Format = Literal["float32", "bfloat16", "int8"]


def energy(
    directory: Annotated[Path, tyro.conf.Positional],
    data: str | None = None,
    samples: int = 256,
    batch: int = 1,
    format: Format = "float32",  # noqa: A002
    arithmetic: Format = "float32",
    table: Literal["horowitz-45nm", "jouppi-7nm"] = "horowitz-45nm",
    measure: bool = False,
    window: float = 2.0,
    repeats: int = 5,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print where the energy of a trained network goes: counted, modelled, measured.

    Parameters
    ----------
    directory
        a run directory, as train makes it
    data
        digits, mnist, cifar10, a name on the hub or a directory; by default that of the run
    samples
        test samples to count on, at most
    batch
        samples that go through the network at once
    format
        how weights are stored
    arithmetic
        number format of products and sums in the modelled column
    table
        published energies of the modelled column
    measure
        read the energy counters of this machine, for (2 repeats + 2) windows, beside the engine
    window
        seconds of a window of --measure
    repeats
        busy windows of --measure
    out
        the picture, ending in svg, png or pdf; by default energy.svg, none with --json
    json
        print one JSON object and nothing else
    """
    from sparsefield.energy import ledger
    from sparsefield.pictures.energy import energy_figure
    from sparsefield.pictures.saving import picture_path
    from sparsefield.train import load_model
    from sparsefield.train.network import held_out_inputs

    picture = out or (None if json else Path("energy.svg"))
    if picture:
        picture_path(picture)
    _check(directory, samples, batch)
    model = load_model(directory)
    x = held_out_inputs(directory, model, data)[:samples]
    book = ledger(
        model,
        x,
        batch=batch,
        storage=format,
        arithmetic=arithmetic,
        table=table,
        measured=measure,
        runner=_engine(model, x[:batch]) if measure else None,
        window_seconds=window,
        repeats=repeats,
    )
    draw = partial(energy_figure, book)
    show(book, picture, draw, label="\npicture              ", json=json)


def _engine(model: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    """The same network with the zeros skipped, to be measured beside it."""
    from sparsefield.engine import accelerate

    return accelerate(model, x, batches=(len(x),))


def _check(directory: Path, samples: int, batch: int) -> None:
    """What can be refused before anything is loaded."""
    if not directory.is_dir():
        raise InvalidInput(f"{directory}: there is no such directory; give one that train has made")
    if not 1 <= batch <= samples:
        raise InvalidInput(
            f"batch {batch}: must lie between 1 and the {samples} samples; "
            "give a smaller --batch or more --samples"
        )
