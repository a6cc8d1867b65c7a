"""The catalogue, and which data a study runs on."""

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies import read_study, study, study_names
from sparsefield.studies.study import SCALES, data_for
from sparsefield.sweep import read_grid


@pytest.fixture
def at_hand(tmp_path, monkeypatch):
    """Put folders for these data sets where data is looked for first, and nothing elsewhere."""
    monkeypatch.setenv("SPARSEFIELD_CACHE", str(tmp_path / "cache"))

    def put(*names):
        folder = tmp_path / "data"
        for name in ("", *names):
            (folder / name).mkdir(exist_ok=True)
        monkeypatch.setenv("SPARSEFIELD_DATA", str(folder))

    return put


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("scale", SCALES)
def test_every_study_of_the_catalogue_can_be_made(name, scale):
    found = study(name)
    assert (found.name, bool(found.title), found.question[-1]) == (name, True, "?")
    assert f"# {found.question}\n".replace("*", "") in found.page.replace("*", "")
    if not getattr(found, scale):
        assert (name, scale) == ("demo", "paper")
        return
    for part, content in found.parts(scale).items():
        plan = read_grid(content)
        assert len(plan.runs) > 1, part
        swept = [field for field in found.tuned if field in plan.fields]
        assert not swept or all(run.config.validation > 0 for run in plan.runs), part


def test_the_first_study_is_there():
    found = study("dt26-dnn")
    assert len(read_grid(found.parts("small")["main"]).runs) == 4 * 12 * 4


def test_an_unknown_study_is_one_line_with_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean 'dt26-dnn'") as error:
        study("dt26-dn")
    assert ", ".join(study_names()) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tuned": ["rate"]}, "tuned='rate': is no field"),
        ({"tuned": ["seed"]}, "tuned='seed': is no field"),
        ({"colour": "red"}, "colour: a study has"),
        ({"small": {}}, "small={}: must map parts to sweeps"),
        ({"small": {"a": {"grid": {"q": [1]}}}}, "small: a: must be a sweep with its base"),
        ({"paper": []}, "paper=.*must map parts to sweeps"),
        ({"small": {"a": {"base": "base.yaml"}}}, "small: a: must be a sweep with its base"),
    ],
)
def test_a_study_that_is_none(content, change, said):
    with pytest.raises(InvalidInput, match=said):
        read_study("odd", {**content, **change})
    read_study("even", content)


def test_a_missing_key(content):
    with pytest.raises(InvalidInput, match="question: a study has"):
        read_study("odd", {key: content[key] for key in content if key != "question"})


def test_data_that_is_not_at_hand_is_the_digits(at_hand):
    at_hand("cifar10")
    assert data_for("auto", "dnn", anything=True) == "digits"
    assert data_for("auto", "cnn", anything=True) == "cifar10"
    assert data_for("mnist", "dnn", anything=True) == "digits"
    assert data_for("mnist", "dnn", anything=False) == "mnist"  # the paper's runs: no other data
    at_hand("mnist")
    assert data_for("auto", "dnn", anything=False) == "mnist"
    assert data_for("somebody/else", "dnn", anything=True) == "somebody/else"


def test_the_parts_name_the_data_that_is_used(content, at_hand):
    at_hand()
    base = {"base": {"data": "auto", "network": "cnn"}}
    found = read_study("a", {**content, "small": {"one": base, "two": {"base": {}}}})
    assert found.data("small") == ("digits",)
    at_hand("cifar10", "mnist")
    assert found.data("small") == ("cifar10", "digits")
    assert found.data("small", "auto") == ("cifar10", "mnist")
    assert found.data("small", "owner/name") == ("owner/name",)
    assert base["base"]["data"] == "auto"  # the catalogue's own is left alone


def test_data_that_is_swept_over_is_not_replaced(content):
    sweep = {"base": {}, "grid": {"data": ["digits", "mnist"]}}
    found = read_study("a", {**content, "small": {"one": sweep}})
    assert found.data("small") == ("digits", "mnist")
    with pytest.raises(InvalidInput, match="part one sweeps over data"):
        found.parts("small", "digits")


def test_an_unknown_scale(tiny):
    with pytest.raises(InvalidInput, match="choose one of small, paper"):
        tiny.parts("large")
