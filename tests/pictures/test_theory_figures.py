"""Every figure of the theory draws, twice the same; phase pictures hold in every corner."""

import re

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sparsefield.errors import InvalidInput
from sparsefield.pictures.larger_q_figure import asymmetry, curvature, sensitivity, spread
from sparsefield.pictures.phase_figure import phase_figure
from sparsefield.pictures.saving import save_figure
from sparsefield.pictures.theory_figures import FIGURES, draw_figures
from sparsefield.theory import solve
from sparsefield.theory.phase import MEANINGS, Axis, phase_diagram


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_same_twice_and_legible_in_print(name, tmp_path):
    (path,) = draw_figures(name, tmp_path)
    text = path.read_text()
    assert text.rstrip().endswith("</svg>")
    width = float(re.search(r'width="([\d.]+)pt"', text)[1])
    assert width <= 5.5 * 72  # the text column of the papers, so that 8 pt stays 8 pt
    first = path.read_bytes()
    draw_figures(name, tmp_path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", FIGURES)
def test_no_type_below_8_points(name):
    figure = FIGURES[name]()
    from matplotlib.text import Text

    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert shown
    assert min(t.get_fontsize() for t in shown) >= 8


def test_every_quantity_has_a_panel(tmp_path):
    names = [name for name in MEANINGS if name != "escape"]
    found = phase_diagram(
        "crelu", Axis.named("sparsity", size=24), Axis.named("clip", size=18), quantities=names
    )
    figure = phase_figure(found)
    assert len(figure.axes) == len(names)
    assert save_figure(figure, tmp_path / "all.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    ("family", "sparsity", "chi1"),
    [("relu", (0.3, 0.9), 1.0), ("relu", (0.1, 0.4), 1.0), ("st", (0.6, 0.9), 1.0)],
)
def test_constant_and_empty_planes_draw(family, sparsity, chi1, tmp_path):
    found = phase_diagram(
        family,
        Axis("sparsity", *sparsity, 12),
        Axis("q", 0.5, 2.0, 9),
        chi1=chi1,
        quantities=["stability", "slope", "depth_scale", "curvature"],
    )
    save_figure(phase_figure(found), tmp_path / "plane.svg")


def test_repelling_points_and_escape_draw(tmp_path):
    found = phase_diagram(
        "crelu",
        Axis("sparsity", 0.6, 0.95, 12),
        Axis("clip", 0.5, 3.0, 9),
        chi1=1.1,
        quantities=["stability", "escape"],
        width=40,
        depth=5,
        escape_size=(3, 3),
    )
    save_figure(phase_figure(found), tmp_path / "plane.svg")


def test_another_ending_or_name_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"choose one of all, fixed-points"):
        draw_figures("monalisa", tmp_path)
    with pytest.raises(InvalidInput, match=r"\.svg"):
        draw_figures("cloud", tmp_path, kind="gif")


@pytest.mark.parametrize(
    ("quantity", "power"), [(curvature, -1), (asymmetry, 1), (sensitivity, -1), (spread, 1)]
)
def test_at_a_fixed_clip_a_larger_q_is_a_change_of_units(quantity, power):
    one, four = (solve("crelu", sparsity=0.9, q=q, clip=1.0) for q in (1.0, 4.0))
    assert quantity(four) == pytest.approx(quantity(one) * 4.0**power, rel=1e-9)
    stronger = solve("crelu", sparsity=0.9, q=4.0, m=1.0)
    assert not np.isclose(quantity(stronger), quantity(four), rtol=0.1)
