"""The picture of where the energy goes: what its bars add up to, and that it can be read."""

import pytest
import torch

pytest.importorskip("matplotlib")

from sparsefield import CNN, DNN, solve
from sparsefield.energy import ledger
from sparsefield.pictures.energy import energy_figure
from sparsefield.pictures.saving import save_figure

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def book(depth=3, **changes):
    generator = torch.Generator().manual_seed(0)
    model = DNN(16, 120, depth, 4, POINT, generator=generator)
    return ledger(model, torch.randn(8, 16, generator=generator), **changes)


def picojoules(axes):
    """What each row of bars adds up to, from the top; the unit is read off the axis."""
    unit = {"mJ": 1e9, "µJ": 1e6, "nJ": 1e3}[axes.get_xlabel().split()[0]]
    total = {}
    for bar in axes.patches:
        row = round(bar.get_y() + bar.get_height() / 2, 6)
        total[row] = total.get(row, 0.0) + bar.get_width()
    return [unit * total[row] for row in sorted(total)]


def test_network_and_layers_have_one_unit():
    whole, layers = energy_figure(book()).axes
    assert whole.get_xlabel().split()[0] == layers.get_xlabel().split()[0]


def test_bars_are_the_ledger():
    found = book()
    whole, layers = energy_figure(found).axes
    modelled = found.modelled
    totals = [modelled.dense.total, modelled.sparse.total]
    assert picojoules(whole) == pytest.approx(totals)
    pairs = [(x.dense.total, x.chosen.total) for x in modelled.layers]
    assert picojoules(layers) == pytest.approx([each for pair in pairs for each in pair])


@pytest.mark.parametrize("depth", [1, 8, 60])
def test_it_can_be_read_in_print(depth):
    from matplotlib.text import Text

    figure = energy_figure(book(depth))
    assert figure.get_figwidth() <= 5.5
    assert figure.get_figheight() < 5.5
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(t.get_fontsize() for t in shown) >= 8
    assert "not measured" in figure.get_suptitle()


def test_the_same_bytes_twice_and_a_convolution(tmp_path):
    model = CNN(1, 4, 2, 3, POINT, generator=torch.Generator().manual_seed(0))
    found = ledger(model, torch.ones(2, 1, 8, 8), table="jouppi-7nm", storage="int8")
    first = save_figure(energy_figure(found), tmp_path / "a.svg").read_bytes()
    assert first == save_figure(energy_figure(found), tmp_path / "b.svg").read_bytes()
