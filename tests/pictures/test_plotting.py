import re

from sparsefield.pictures.plotting import looks, new_figure
from sparsefield.pictures.saving import svg_element


def test_looks_are_all_different():
    assert len(set(looks(28))) == 28
    assert all(re.fullmatch("#[0-9a-f]{6}", look.text) for look in looks(7))


def test_svg_stands_inside_html():
    def figure():
        made = new_figure(2, 2)
        axes = made.add_subplot()
        axes.plot([0, 1], [0, 1], "o", clip_on=True)
        return made

    svg = svg_element(figure(), name="one", description='say "<this>"')
    assert svg.startswith('<svg role="img" aria-label="say &quot;&lt;this&gt;&quot;"')
    assert svg.rstrip().endswith("</svg>")
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("one-") for name in ids)
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }
    assert svg == svg_element(figure(), name="one", description='say "<this>"')
