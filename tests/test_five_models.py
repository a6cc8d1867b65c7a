"""Five models of one's own, from their class to ONNX, and the page that shows them."""

import importlib
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import own_models  # noqa: F401  where the examples are

ROOT = Path(__file__).parents[1]
FIVE = ["resnet", "mixer", "transformer", "unet", "autoencoder"]
NUMBER = re.compile(r"\d+\.\d+%")


@pytest.fixture(scope="module", params=FIVE)
def walked(request):
    """Each walks once; its name and what came of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, and that lists are no faster here
        return request.param, importlib.import_module(request.param).main()


def table_in(page, name):
    """The table of a page below the file that it includes."""
    below = page.split(f"{{literalinclude}} ../examples/five_models/{name}.py", 1)[1]
    return re.search(r"(\|.*\n)+", below)[0].strip()


def table_of(name, walk):
    from walk import in_markdown

    module = importlib.import_module(name)
    make = next(getattr(module, c) for c in vars(module) if c.lower() == name)
    return in_markdown(make(), walk)


def same(one, other, points=0.3):
    """Equal words, and shares within some points: another machine rounds otherwise."""
    if NUMBER.sub("%", one) != NUMBER.sub("%", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(abs(float(a[:-1]) - float(b[:-1])) <= points for a, b in pairs)


def sparse_or_said(rows):
    return all(abs(row.zeros - 0.9) <= 0.02 or row.unvouched for row in rows)


def close(answers):
    wanted = answers["model"]
    scale = wanted.abs().max()
    return all((answer - wanted).abs().max() <= 1e-4 * scale for answer in answers.values())


def test_zeros_are_the_promised_ones_or_it_says_why(walked):
    _, walk = walked
    rows = walk.table.activations
    assert rows
    assert sparse_or_said(rows)
    assert not sparse_or_said([replace(rows[0], zeros=0.87, unvouched="")])  # the twin


def test_it_learns(walked):
    _, walk = walked
    assert walk.losses[-1] < 0.95 * walk.losses[0]


def test_engine_and_file_answer_as_the_model_does(walked):
    _, walk = walked
    assert {"model", "engine", "loaded"} <= walk.answers.keys()
    assert close(walk.answers)
    assert not close(walk.answers | {"engine": walk.answers["engine"] * 1.001})  # the twin


def test_onnxruntime_answers_as_the_model_does(walked):
    pytest.importorskip("onnxruntime", reason="needs the bench extra")
    pytest.importorskip("onnxscript", reason="needs the bench extra")
    _, walk = walked
    answers = {name: walk.answers[name] for name in ("model", "onnxruntime")}
    assert close(answers)


def test_the_page_shows_what_came_of_it(walked):
    name, walk = walked
    shown = table_in((ROOT / "docs/your-own-model.md").read_text(), name)
    assert same(shown, table_of(name, walk))
    assert not same(shown.replace("| yes | no |", "| no | no |", 1), table_of(name, walk))
    assert not same(NUMBER.sub("85.0%", shown, count=1), table_of(name, walk))  # the twins


def test_the_page_counts_its_own_tables():
    page = (ROOT / "docs/your-own-model.md").read_text()
    tables = [table_in(page, name) for name in FIVE]
    cells = [line.split("|")[4] for table in tables for line in table.splitlines()]
    shares = [float(cell.strip()[:-1]) for cell in cells if NUMBER.search(cell)]
    near = sum(abs(share - 90.0) <= 2.0 for share in shares)
    assert f"{near} of the {len(shares)} activations" in " ".join(page.split())
