import pytest

from sparsefield.studies import Record, Row, read_study, reproduce
from sparsefield.studies.record import MEASURES, differing
from sparsefield.train import TrainConfig

BASE = {
    "data": "digits",
    "depth": 3,
    "width": 20,
    "sparsity": 0.7,
    "batch": 64,
    "steps": 30,
    "log_every": 5,
    "monitor_every": 10,
    "validation": 0.1,
    "device": "cpu",
}
TINY = {
    "title": "A tiny study",
    "question": "Does it work?",
    "source": "[DT26], Table 0",
    "tuned": ["lr"],
    "small": {
        "plane": {"base": BASE, "grid": {"q": [0.25, 4], "lr": [1e-3, 1e-2]}, "seeds": 2},
        "alone": {"base": {**BASE, "monitor_every": 0, "lr": 1e9, "optimizer": "sgd"}},
    },
    "paper": {"plane": {"base": {**BASE, "data": "mnist", "width": 30}}},
    "effects": {
        "q": {"where": {"part": "plane"}, "from": {"q": 0.25}, "to": {"q": 4}},
        "accuracy": {"kind": "mean", "of": {"part": "plane", "q": 4}},
    },
}
PAGE = "# Tiny\n\nIt has {value accuracy}.\n\n{figure}\n\n{table}\n\n{effects}\n\n{made}\n"


@pytest.fixture
def content():
    """The content of a tiny study's file."""
    return TINY


@pytest.fixture(scope="session")
def tiny():
    """A study of nine runs of a tenth of a second."""
    return read_study("tiny", TINY, PAGE)


@pytest.fixture(scope="session")
def made(tiny, tmp_path_factory):
    """The tiny study, made: a folder no test may change."""
    return reproduce(tiny, out=tmp_path_factory.mktemp("studies") / "tiny", progress=False)


@pytest.fixture
def invented():
    """Make a record of runs that never were: one part, measures by a function of the config."""
    return invent


@pytest.fixture
def declared():
    """Make a study of these effects, the learning rate tuned, with this page."""
    return lambda effects, page="", **more: read_study(
        "planted", {**TINY, "effects": effects, **more}, page
    )


def invent(arms, measure, *, seeds=3, study="planted", tuned=("lr",), scale="small"):
    """A record with a row for each arm (a mapping of fields) and seed.

    ``measure(config, seed)`` gives some measures; None means that the run has no result.
    """
    configs = [
        TrainConfig(**arm).resolved().model_dump(mode="json", exclude={"seed"}) for arm in arms
    ]
    rows = tuple(
        Row("plane", seed, config, _measures(measure(config, seed)))
        for seed in range(seeds)
        for config in configs
    )
    fields = differing(configs)
    shared = {name: value for name, value in configs[0].items() if name not in fields}
    parts = {"plane": {"digest": "0" * 64, "fields": fields, "config": shared}}
    made = {"commits": ["abc"], "versions": {"torch": ["2"]}, "hardware": {}, "seconds": 12.0}
    told = ("Invented", "What if?", "nowhere", list(tuned))
    return Record(study, scale, *told, made, parts, rows)


def _measures(found):
    if found is None:
        return {**dict.fromkeys(MEASURES), "failed": True, "reason": "was killed"}
    same = {"validation_accuracy": found.get("test_accuracy", 0.5)}
    usual = {**dict.fromkeys(MEASURES, 0.5), "thresholded": None, "failed": False, "reason": None}
    return {**usual, **same, **found}
