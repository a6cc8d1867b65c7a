import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.pictures.plotting import apart, looks, new_figure
from sparsefield.pictures.saving import svg_element

finite = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(finite, st.floats(0.1, 50)), max_size=12))
def test_labels_set_apart_do_not_overlap_and_keep_their_order(blocks):
    positions, heights = [b[0] for b in blocks], [b[1] for b in blocks]
    moved = apart(positions, heights)
    order = np.argsort(positions, kind="stable")
    for one, two in pairwise(order):
        assert moved[two] - moved[one] >= (heights[one] + heights[two]) / 2 - 1e-6


@given(st.lists(finite, max_size=8, unique_by=lambda x: round(x / 10)))
def test_labels_that_are_apart_stay(positions):
    spaced = [10.0 * round(x / 10) for x in positions]
    assert apart(spaced, [9.0] * len(spaced)) == pytest.approx(spaced)


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
