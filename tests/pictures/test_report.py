import json
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from sparsefield.errors import InvalidInput, MissingExtra
from sparsefield.pictures import report
from sparsefield.pictures.report import beside, config_rows
from sparsefield.pictures.runs import read_arms
from sparsefield.train import train


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """The report of all arms."""
    out = tmp_path_factory.mktemp("report") / "deep" / "page.html"
    assert report(runs, out=out) == out
    return out.read_text(encoding="utf-8")


class Cells(HTMLParser):
    """The rows of every table, as text."""

    def __init__(self, page):
        super().__init__()
        self.rows, self._open = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self._open = tag in ("td", "th") or (self._open and tag != "tr")
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data.strip()


def test_nothing_is_loaded_from_elsewhere(page):
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http" not in rest
    assert not re.search(r"<(script|link|iframe|img|object|embed)\b|@import|@font-face", rest)
    references = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', rest)
    assert references
    assert all((a or b).startswith("#") for a, b in references)


def test_the_check_for_links_can_fail(page):
    assert "http" in page.replace("<footer>", '<footer><img src="http://example.org/a.png">')


def test_every_id_is_one_of_a_kind(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 100


def test_the_figures_are_well_formed(page):
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        ET.fromstring(figure)


def test_the_table_of_arms_says_what_the_results_say(page, runs):
    arms = read_arms(runs)
    rows = {row[0]: row[1:] for row in Cells(page).rows[1 : len(arms) + 1]}  # the first table
    for (name, arm), difference in zip(arms.items(), beside(arms), strict=True):
        assert rows[name][:2] == [str(len(arm.rows)), str(arm.failed)]
        assert rows[name][2:4] == [arm.text(), difference]
        assert rows[name][4] == f"{100 * arm['sparsity']:g}"
        start, end = rows[name][5].split(" → ")
        assert start == f"{100 * arm.mean('zeros_init').estimate:.1f}"
        assert end == arm.text("zeros_end")


def test_the_table_of_runs_is_the_results(page, runs):
    rows = [row[1:] for row in Cells(page).rows if len(row) == 7]
    for path in sorted(runs.glob("*/*/result.json")):
        result = json.loads(path.read_text())
        loss = float("nan") if result["train_loss"] is None else result["train_loss"]
        assert [
            str(result["seed"]),
            f"{100 * result['test_accuracy']:.2f}",
            f"{loss:.3g}",
            f"{100 * result['sparsity_mean']:.2f}",
            str(result["steps"]),
            f"{result['seconds']:.1f}",
        ] in rows


def test_the_solved_points_are_those_of_the_configs(page, runs):
    rows = {row[0]: row[1:] for row in Cells(page).rows if len(row) == 9}
    for name, arm in read_arms(runs).items():
        point = arm.runs[0].config.point()
        assert rows[name][3] == f"{point.sigma_w2:.4g}"
        assert rows[name][1] == ("none" if point.m is None else f"{point.m:.4g}")


def test_a_failed_run_is_shown_as_failed(page, runs):
    reason = json.loads((runs / "e-diverges" / "seed-0" / "result.json").read_text())["reason"]
    shown = [row[0] for row in Cells(page).rows if row and row[0].startswith("failed: ")]
    assert f"failed: {reason}" in shown
    assert page.count('<tr class="failed">') > 2


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    pages = [report(runs / "a-plain", out=tmp_path / name) for name in ("one", "two")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_by_default_the_report_lies_beside_the_runs(own_runs):
    assert report(own_runs) == own_runs / "report.html"
    assert (own_runs / "report.html").exists()


def test_text_from_a_config_cannot_become_markup(own_runs):
    for path in own_runs.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("data: digits", "data: '<b>bold'"))
    assert "<b>bold" not in report(own_runs).read_text(encoding="utf-8")


@pytest.mark.parametrize("changes", [{"monitor_every": 0}, {"depth": 1}, {"family": "cst"}])
def test_a_run_of_any_kind_has_a_report(config, tmp_path, changes):
    train(config(**changes), out=tmp_path / "run", progress=False)
    assert report(tmp_path / "run").stat().st_size > 10_000


def test_a_convolutional_run_has_a_report(config, tmp_path):
    small = config(network="cnn", width=6, strides=[1], steps=12)
    train(small, out=tmp_path / "run", progress=False)
    assert "convolutional network" in report(tmp_path / "run").read_text(encoding="utf-8")


def test_the_configuration_marks_what_differs(runs):
    rows = {name: (values, differ) for name, values, differ in config_rows(read_arms(runs))}
    assert rows["skip"] == (["0.0", "0.5", "0.0", "0.0", "0.0"], True)
    assert rows["depth"] == (["3"] * 5, False)
    assert rows["seed"][0] == ["0, 1", "0, 1", "0, 1", "0, 1", "0"]


def test_versions_hardware_and_data_are_listed_once(page, runs):
    made = [row for row in Cells(page).rows if len(row) == 2]
    (digest,) = {
        json.loads(path.read_text())["data_digest"] for path in runs.glob("*/*/result.json")
    }
    assert len({name for name, _ in made}) == len(made)
    assert dict(made)["threads"] == "1"
    assert dict(made)["SHA-256 of the data"] == digest
    assert {"commit", "torch", "cpu"} <= dict(made).keys()


def test_an_out_that_cannot_be_written(runs, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        report(runs / "a-plain" / "seed-0", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_one_line(runs, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'sparsefield\[report\]'"):
        report(runs / "a-plain", out=tmp_path / "report.html")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_first_figure_alone(runs, tmp_path, kind):
    out = tmp_path / "deep" / f"demo.{kind}"
    assert report(runs, out) == out
    assert out.stat().st_size > 10_000
    assert b"<html" not in out.read_bytes()


VOID = {"meta", "br", "hr", "img", "input", "link"}


class Nesting(HTMLParser):
    """Says where a page closes what is not open, or leaves open what it never closes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.faults = [], []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def test_every_element_is_closed_where_it_was_opened(page):
    assert Nesting(page).faults == []


@pytest.mark.parametrize("old", ["</td>", "</table>", "</g>", "</section>"])
def test_the_check_for_nesting_can_fail(page, old):
    assert Nesting(page.replace(old, "", 1)).faults
