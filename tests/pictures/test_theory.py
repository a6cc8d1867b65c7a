"""Every figure of the theory draws, twice the same; phase pictures hold in every corner."""

import re

import pytest

pytest.importorskip("matplotlib")

from matplotlib.text import Text

from sparsefield.errors import InvalidInput
from sparsefield.pictures.phase import phase_figure
from sparsefield.pictures.saving import save_figure
from sparsefield.pictures.theory import FIGURES, draw_figures
from sparsefield.theory.phase import MEANINGS, Axis, phase_diagram


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_same_twice_and_legible_in_print(name, tmp_path):
    figure = FIGURES[name]()
    assert figure.get_figwidth() <= 5.5  # the text column of the papers, so that 8 pt stays 8 pt
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert shown
    assert min(t.get_fontsize() for t in shown) >= 8
    (path,) = draw_figures(name, tmp_path)
    text = path.read_text()
    assert text.rstrip().endswith("</svg>")
    assert float(re.search(r'width="([\d.]+)pt"', text)[1]) <= 5.5 * 72
    assert save_figure(figure, tmp_path / "again.svg").read_bytes() == path.read_bytes()


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


def keys(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_every_mark_of_a_plane_has_a_key():
    plane = [Axis.named("sparsity", size=24), Axis.named("clip", size=18)]
    found = keys(phase_figure(phase_diagram("crelu", *plane, quantities=["stability"])))
    assert found[:2] == ["attracts, has rivals", "attracts, the only one"]
    assert "no such network" in found[2]
    bare = keys(phase_figure(phase_diagram("cst", *plane, quantities=["slope"])))
    assert bare == []  # no hatching: cst has an edge of chaos everywhere


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
