"""The page on models of one's own prints what its code prints."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "your-own-model.md"


def rows(text):
    return [re.split(r"  +", line.strip()) for line in text.strip().splitlines()]


def agree(shown, made):
    """Cell by cell: words equal, numbers that were measured to a twentieth."""
    for one, other in zip(rows(shown), rows(made), strict=True):
        for a, b in zip(one, other, strict=True):
            number = re.fullmatch(r"[\d.]+%?", a)
            if a != b and not (number and float(a[:4].rstrip("%")) == pytest.approx(
                float(b[:4].rstrip("%")), rel=0.05)):  # fmt: skip
                return False
    return True


def test_the_table_of_the_page_is_that_of_its_code(capsys):
    code, table = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(), re.S
    ).groups()
    exec(compile(code, PAGE.name, "exec"), {"__name__": "page"})
    made = capsys.readouterr().out
    assert agree(table, made)
    assert not agree(table.replace("reads a sum", "reads a norm"), made)
    assert not agree(table.replace("1.33", "2.33"), made)
