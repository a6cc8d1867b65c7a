"""``sparsefield demo``: a study that anyone can run, as an ordinary sweep."""

import json
import sys

import pytest
import yaml

from sparsefield import studies
from sparsefield.cli import main
from sparsefield.train import TrainConfig, read_run

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
SIZES = {"depth": 3, "width": 20, "epochs": 2}


@pytest.fixture
def small(monkeypatch, here, catalogue):
    """The demo's own arms at a tiny size; the user stands in an empty folder."""
    content = yaml.safe_load((DEMO / "study.yaml").read_text())
    content["small"]["arms"]["base"] |= SIZES
    content["small"]["arms"]["seeds"] = 2
    (catalogue / "demo").mkdir()
    (catalogue / "demo" / "study.yaml").write_text(yaml.safe_dump(content))
    return here


DEMO = sys.modules[studies.Study.__module__]._catalogue() / "demo"


def results(folder):
    return {path: path.read_bytes() for path in sorted(folder.glob("demo/runs/*/result.json"))}


def test_five_arms_a_table_and_a_report(small, capsys):
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert len(results(small)) == 10
    assert "10/10" in err
    assert "zeros, start → end" in out
    assert out.rstrip().endswith("report: demo/report.html")
    assert (small / "demo" / "report.html").exists()
    before = results(small)  # finished runs are kept
    assert main(["demo", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"report": "demo/report.html"}
    assert err == ""
    assert results(small) == before


def test_every_arm_has_the_same_sizes_and_its_own_start(small):
    assert main(["demo", "--json", "--out", "demo"]) == 0
    configs = [read_run(path).config for path in sorted(small.glob("demo/runs/*"))]
    apart = {"q", "family", "clip", "init", "skip", "seed"}
    shared = [config.model_dump(exclude=apart) for config in configs]
    assert all(config == shared[0] for config in shared)
    assert len({config.model_copy(update={"seed": 0}) for config in configs}) == 5
    solved = next(c for c in configs if (c.family, c.q, c.init, c.skip) == ("crelu", 4, "eoc", 0))
    default = next(config for config in configs if config.init == "torch")
    assert default.model_copy(update={"init": "eoc", "seed": 0}) == solved.model_copy(
        update={"seed": 0}
    )
    assert (default.point().tau, default.point().m) == (solved.point().tau, solved.point().m)


def test_another_demo_there_is_refused_and_kept(small, refused):
    assert main(["demo", "--json"]) == 0
    before = results(small)
    path = sys.modules[studies.Study.__module__]._catalogue() / "demo" / "study.yaml"
    content = yaml.safe_load(path.read_text())
    content["small"]["arms"]["base"]["width"] = 21
    path.write_text(yaml.safe_dump(content))
    assert "demo" in refused(main, "demo")
    assert results(small) == before


def test_what_is_missing_is_said_before_training(small, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert "jinja2" in refused(main, "demo")
    assert not (small / "demo").exists()


def test_the_demo_is_as_large_as_it_says():
    base = studies.study("demo").small["arms"]["base"]
    assert (base["depth"], base["width"], base["epochs"]) == (30, 200, 40)
    assert TrainConfig(**base, family="crelu", clip=1.1).sparsity == 0.9
