"""What pages of the theory print is what their code prints."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def failures(page):
    return doctest.testfile(str(page), module_relative=False, report=False)


@pytest.mark.parametrize("name", ["correlation", "spatial", "theory/norms-and-sums"])
def test_the_code_of_a_page_prints_what_it_says(name):
    failed, tried = failures(DOCS / f"{name}.md")
    assert failed == 0
    assert tried > 4


def test_a_page_with_another_number_fails(tmp_path):
    text = (DOCS / "spatial.md").read_text()
    assert text.count("3 pixels, 38% of the image") == 1
    page = tmp_path / "page.md"
    page.write_text(text.replace("3 pixels, 38% of", "3 pixels, 39% of"))
    assert failures(page).failed == 1
