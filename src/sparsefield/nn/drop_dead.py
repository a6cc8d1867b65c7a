"""Units that do nothing on the data leave a trained network for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsefield.errors import InvalidInput
from sparsefield.watch import Call, Watch, activation_modules, is_activation

from .mode import evaluating
from .networks import CNN, DNN

BATCH = 256
_EVERY = 10  # one sample in so many is held out, where none are given
_TINY = 1e-30
_SAME = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten),
    *(nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_SAME_ZERO = (nn.AvgPool2d,)  # its padding is of zeros
_Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class DroppedRow:
    """What became of the units of one layer.

    Attributes
    ----------
    name
        the layer's, whose rows go.
    units
        it had, or channels.
    dead
        that were zero for every sample of the data.
    at_clip
        that were of one other value for every sample, at every position.
    left
        it has now.
    """

    name: str
    units: int
    dead: int
    at_clip: int
    left: int


@dataclass(frozen=True)
class Dropped:
    """What left a network, and what that has changed on samples that had no say in it.

    Attributes
    ----------
    rows
        one a layer.
    parameters
        numbers in the model before, and now.
    held_out
        samples that it was measured on.
    decided_otherwise
        share of them whose largest output is another now.
    difference
        largest change of an output, in units of the root mean square of all outputs.
    """

    rows: tuple[DroppedRow, ...]
    parameters: tuple[int, int]
    held_out: int
    decided_otherwise: float
    difference: float

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [5]) + 2
        before, now = self.parameters
        return "\n".join(
            [
                f"{'layer':<{width}}{'units':>8}{'dead':>8}{'at clip':>9}{'left':>8}",
                *(
                    f"{row.name:<{width}}{row.units:>8}{row.dead:>8}{row.at_clip:>9}{row.left:>8}"
                    for row in self.rows
                ),
                f"parameters          {before} -> {now}",
                f"held out            {self.held_out} samples",
                f"decided otherwise   {self.decided_otherwise:.2%}",
                f"largest difference  {self.difference:.2g} of the outputs' root mean square",
            ]
        )


@torch.no_grad()
def drop_dead_(model: nn.Module, data: Tensor, held_out: Tensor | None = None) -> Dropped:
    """Take the units out of a network that are constant on the data, in place.

    A unit that never fires, or is always at the clip, gives the next layer a constant: that goes
    into its bias, the unit's row and column go, and on the data nothing changes but rounding. In
    a network with the skip a unit is a coordinate of the stream, which later layers add to: it
    goes where it is constant after every layer. One that is constant after some layers alone
    stays, as :class:`DroppedRow` tells; the engine skips its zeros all the same.

    Parameters
    ----------
    model
        a :class:`DNN`, a :class:`CNN`, or an ``nn.Sequential`` of linear layers, convolutions,
        activations, pooling, dropout and flattening. Parameters that shrink are new ones: make
        optimisers and engines afterwards.
    data
        inputs to decide by, ``[n, ...]``: many and of all kinds, for what none of them needs goes.
    held_out
        other inputs to measure the change on; by default every tenth of the data, which then has
        no say.

    Raises
    ------
    InvalidInput
        a model of another kind, a layer whose weights are not parameters of its own or that is
        used twice, no data; nothing is changed then.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> for layer, bias in ((model[0], [1.0, 0.0, -9.0]), (model[2], [0.0])):
    ...     _ = layer.weight.data.fill_(1.0), layer.bias.data.copy_(torch.tensor(bias))
    >>> table = drop_dead_(model, torch.linspace(0.0, 1.0, 50)[:, None])
    >>> table.rows[0].left, table.difference
    (2, 0.0)
    """
    links = _links(model)
    deciding, measuring = _split(data, held_out)
    before, size = _outputs(model, measuring), _size(model)
    seen = _extremes(model, deciding)
    values = [seen[link.activation] for link in links]
    goes = _who_goes(links, values, stream=bool(getattr(model, "skip", 0.0)))
    rows = tuple(
        link.row(*each, gone) for link, each, gone in zip(links, values, goes, strict=True)
    )
    for link, (low, _), gone in zip(links, values, goes, strict=True):
        _fold(link.reader, torch.where(gone, low, 0.0))
    for link, gone in zip(links, goes, strict=True):
        _drop_rows(link.layer, ~gone)
        _drop_columns(link.reader, ~gone)
    after = _outputs(model, measuring)
    otherwise = (before.argmax(1) != after.argmax(1)).float().mean()
    difference = (before - after).abs().max() / before.square().mean().sqrt().clamp_min(_TINY)
    return Dropped(rows, (size, _size(model)), len(measuring), float(otherwise), float(difference))


@dataclass(frozen=True)
class _Link:
    """A layer whose units may go, its activation's place in a pass, and the layer that reads it.

    ``folds``: whether a constant other than zero reaches every output of the reader alike.
    """

    name: str
    layer: _Layer
    activation: int
    reader: _Layer
    folds: bool

    def row(self, low: Tensor, high: Tensor, goes: Tensor) -> DroppedRow:
        """Of the table."""
        constant, zero = low == high, low == 0
        dead, at_clip = int((constant & zero).sum()), int((constant & ~zero).sum())
        return DroppedRow(self.name, len(goes), dead, at_clip, int((~goes).sum()))


def _split(data: Tensor, held_out: Tensor | None) -> tuple[Tensor, Tensor]:
    """Samples to decide by, and others."""
    given = "data" if held_out is None or not len(data) else "held_out"
    if held_out is None:
        apart = torch.arange(len(data)) % _EVERY == 0
        data, held_out = data[~apart], data[apart]
    if not len(data) or not len(held_out):
        raise InvalidInput(f"{given}: holds too few samples; give hundreds, of every kind")
    return data, held_out


def _links(model: nn.Module) -> tuple[_Link, ...]:
    """The layers of a network, first to last.

    Raises
    ------
    InvalidInput
        all that it cannot take, at once.
    """
    links = tuple(_chained(_pieces(model)))
    weights = [id(link.layer.weight) for link in links]
    weights += [id(link.reader.weight) for link in links[-1:]]
    odd = [
        link.name
        for link in links
        if weights.count(id(link.layer.weight)) > 1
        or not (_plain(link.layer) and _plain(link.reader))
    ]
    if odd:
        raise InvalidInput(
            f"{', '.join(odd)}: used twice, grouped, or with weights that are computed from "
            "others; give a model whose layers hold parameters of their own"
        )
    if not links:
        raise InvalidInput(
            f"{type(model).__name__}: holds no layer whose activation another layer reads"
        )
    return links


def _plain(layer: _Layer) -> bool:
    own = isinstance(layer._parameters.get("weight"), nn.Parameter)
    return own and not is_parametrized(layer) and getattr(layer, "groups", 1) == 1


def _pieces(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of a network in the order in which they run, by name."""
    if isinstance(model, DNN | CNN) and type(model).forward in (DNN.forward, CNN.forward):
        pairs = zip(model.layers, model.activations, strict=True)
        hidden = [
            piece
            for index, (layer, phi) in enumerate(pairs)
            for piece in ((f"layers.{index}", layer), (f"activations.{index}", phi))
        ]
        pool = [("pool", model.pool)] if isinstance(model, CNN) else []
        return [*hidden, *pool, ("head", model.head)]
    if type(model) is nn.Sequential:
        return list(_leaves(model, ""))
    raise InvalidInput(
        f"{type(model).__name__}: units leave a DNN, a CNN or an nn.Sequential; give one of them"
    )


def _leaves(sequence: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in sequence._modules.items():  # named_children() skips a second use
        if type(child) is nn.Sequential:
            yield from _leaves(child, f"{prefix}{name}.")
        elif child is not None:
            yield f"{prefix}{name}", child


def _chained(pieces: Sequence[tuple[str, nn.Module]]) -> Iterator[_Link]:
    unknown = [f"{name} ({type(each).__name__})" for name, each in pieces if not _is_known(each)]
    if unknown:
        raise InvalidInput(
            f"{', '.join(unknown)}: what comes between a unit and the layer that reads it must "
            "leave a constant one; give a model without it"
        )
    layer: tuple[str, _Layer] | None = None
    activations, same, at = 0, True, -1
    for name, piece in pieces:
        if type(piece) in (nn.Linear, nn.Conv2d):
            assert isinstance(piece, nn.Linear | nn.Conv2d)
            if layer is not None and at >= 0:
                yield _Link(*layer, at, piece, same and _reads_alike(piece))
            layer, same, at = (name, piece), True, -1
        elif is_activation(piece):
            at, activations = activations, activations + 1
        else:
            same &= not isinstance(piece, _SAME_ZERO)


def _is_known(piece: nn.Module) -> bool:
    layer = type(piece) in (nn.Linear, nn.Conv2d)
    return layer or is_activation(piece) or isinstance(piece, _SAME + _SAME_ZERO)


def _reads_alike(reader: _Layer) -> bool:
    """Whether what a constant unit adds is the same at every output position, and has a bias."""
    if reader.bias is None:
        return False
    if isinstance(reader, nn.Linear):
        return True
    return reader.padding_mode == "circular" or reader.padding in ((0, 0), "valid")


def _extremes(model: nn.Module, data: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The least and the largest value of every unit, by activation in the order of a pass."""
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def see(call: Call) -> None:
        y = call.output
        others = [axis for axis in range(y.dim()) if axis != call.units % y.dim()]
        low, high = y.amin(others), y.amax(others)
        if call.place.order in found:
            before = found[call.place.order]
            low, high = torch.minimum(low, before[0]), torch.maximum(high, before[1])
        found[call.place.order] = low, high

    with Watch(model, activation_modules(model)).passes(see) as passes:
        _outputs(model, data)
    passes.warn()
    return [found[order] for order in sorted(found)]


def _outputs(model: nn.Module, data: Tensor) -> Tensor:
    with evaluating(model):
        return torch.cat([model(x).reshape(len(x), -1) for x in data.split(BATCH)])


def _who_goes(
    links: Sequence[_Link], values: Sequence[tuple[Tensor, Tensor]], *, stream: bool
) -> list[Tensor]:
    """By link, the units that its reader can do without; of a stream, every reader."""
    goes = [_constant(link, *each) for link, each in zip(links, values, strict=True)]
    if stream:
        goes = [torch.stack(goes).all(dim=0)] * len(goes)
    return [_but_one(each) for each in goes]


def _constant(link: _Link, low: Tensor, high: Tensor) -> Tensor:
    """Units of one value alone, which the bias of the reader can stand in for."""
    constant = (low == high) & low.isfinite()
    return constant if link.folds else constant & (low == 0)


def _but_one(goes: Tensor) -> Tensor:
    """A layer keeps one unit, whatever it does: PyTorch knows no layer without any."""
    if goes.all():
        goes = goes.clone()
        goes[0] = False
    return goes


def _fold(reader: _Layer, constant: Tensor) -> None:
    """Put what constant units add to a layer into its bias; 0 of a unit that stays."""
    if not constant.any():
        return
    assert reader.bias is not None
    by_unit = reader.weight.unflatten(1, (len(constant), -1)).flatten(2).sum(2)
    reader.bias += by_unit @ constant


def _drop_rows(layer: _Layer, stays: Tensor) -> None:
    _replace(layer, "weight", layer.weight[stays])
    if layer.bias is not None:
        _replace(layer, "bias", layer.bias[stays])
    setattr(
        layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", int(stays.sum())
    )


def _drop_columns(reader: _Layer, stays: Tensor) -> None:
    """A flattened image has its unit's positions side by side."""
    each = stays.repeat_interleave(reader.weight.shape[1] // len(stays))
    _replace(reader, "weight", reader.weight[:, each])
    setattr(
        reader, "in_features" if isinstance(reader, nn.Linear) else "in_channels", int(each.sum())
    )


def _replace(layer: _Layer, name: str, value: Tensor) -> None:
    before = getattr(layer, name)
    setattr(layer, name, nn.Parameter(value.clone(), requires_grad=before.requires_grad))


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
