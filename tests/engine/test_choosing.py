"""The choice of layers on lists, step by step: expected, measured, kept, made anew."""

import pytest

from sparsefield.engine.choosing import (
    BLOCK,
    DENSE,
    DRIFT,
    REST,
    ROUNDS,
    Choice,
    Chooser,
    read_choices,
    ways_for,
)
from sparsefield.errors import InvalidInput

LAYERS = ("a", "b", "c")
SPARSE, MIXED, HALF = (0.9, 0.9, 0.8), (0.9, 0.1, 0.8), (0.3, 0.4, 0.2)
LONG = 10_000


def chooser(total=LONG, notes=None):
    return Chooser(LAYERS, total, (notes if notes is not None else []).append)


def stepped(chosen, seconds, steps, start=0):
    """Give the ways of some steps, each told how long its way takes."""
    ways = []
    for step in range(start, start + steps):
        ways.append(chosen.at(step).at(step))
        chosen.took(step, seconds[ways[-1]])
    return ways


def test_ways_take_turns_there_and_back():
    trial = Choice(10, (("a",), DENSE))
    ways = [trial.at(10 + step) for step in range(trial.length)]
    assert trial.length == 2 * BLOCK * ROUNDS
    assert ways[::BLOCK] == [("a",), DENSE, DENSE, ("a",), ("a",), DENSE]
    assert [trial.counts(10 + step) for step in range(BLOCK + 1)] == [False, True, True, False]
    assert not trial.counts(10 + trial.length + 1)


@pytest.mark.parametrize(
    ("seconds", "chosen", "speedup"),
    [
        ({LAYERS: 1.0, DENSE: 4.0}, LAYERS, 4.0),
        ({LAYERS: 1.01, DENSE: 1.0}, LAYERS, 1 / 1.01),  # expected, and not clearly beaten
        ({LAYERS: 1.03, DENSE: 1.0}, DENSE, 1.0),
    ],
)
def test_the_faster_is_taken_and_written_down(seconds, chosen, speedup, tmp_path):
    notes = []
    chooser_ = chooser(notes=notes)
    chooser_.look(0, SPARSE)
    length = chooser_.choices[0].length
    stepped(chooser_, seconds, length)
    assert stepped(chooser_, seconds, 50, start=length) == [chosen] * 50
    assert chooser_.choices[-1] == Choice(length, (chosen,), SPARSE, pytest.approx(speedup))
    (tmp_path / "engine.json").write_bytes(notes[-1])
    assert read_choices(tmp_path / "engine.json") == chooser_.choices


def test_one_slow_step_decides_nothing():
    chosen = chooser()
    chosen.look(0, SPARSE)
    for step in range(chosen.choices[0].length):
        slow = 100.0 if step == BLOCK - 1 or step % BLOCK == 0 else 1.0
        chosen.took(step, slow if chosen.at(step).at(step) else 2.0)
    assert chosen.at(LONG).ways == (LAYERS,)


def test_layers_that_are_dense_may_stay_so():
    assert ways_for(LAYERS, MIXED) == (("a", "c"), DENSE, LAYERS)
    chosen = chooser()
    chosen.look(0, MIXED)
    seconds = {("a", "c"): 2.0, DENSE: 3.0, LAYERS: 1.0}
    stepped(chosen, seconds, chosen.choices[0].length)
    assert chosen.at(LONG).ways == (LAYERS,)  # whatever was expected


def test_nothing_is_measured_where_nothing_can_gain():
    chosen = chooser()
    chosen.look(0, HALF)
    assert chosen.choices == [Choice(0, (DENSE,), HALF)]


def test_a_short_run_takes_what_is_expected():
    chosen = chooser(total=20)
    chosen.look(0, SPARSE)
    assert chosen.choices == [Choice(0, (LAYERS,), SPARSE)]


def test_drift_is_measured_anew_and_noise_is_not():
    chosen = chooser()
    chosen.look(0, HALF)
    near = tuple(share + 0.9 * DRIFT for share in HALF)
    chosen.look(REST, near)
    chosen.look(REST - 1, SPARSE)  # too soon
    assert len(chosen.choices) == 1
    chosen.look(REST, SPARSE)
    assert [choice.step for choice in chosen.choices] == [0, REST]
    assert chosen.choices[-1].length > 0
    chosen.look(REST + 1, HALF)  # it is being measured
    assert len(chosen.choices) == 2


def test_what_is_known_is_neither_measured_nor_written_again():
    made = chooser()
    made.look(0, SPARSE)
    made_ways = stepped(made, {LAYERS: 1.0, DENSE: 2.0}, 30)
    notes = []
    knows = chooser(notes=notes)
    knows.know(made.choices)
    knows.look(0, HALF)
    assert stepped(knows, {LAYERS: 2.0, DENSE: 1.0}, 30) == made_ways
    assert not notes


@pytest.mark.parametrize("text", ["{", "{}", '{"choices": [{"step": 0}]}', '{"choices": 3}'])
def test_a_damaged_file_is_one_line(text, tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"engine\.json: is damaged"):
        read_choices(path)


def test_choices_of_another_network_are_refused():
    with pytest.raises(InvalidInput, match="name z, which cannot run on lists here"):
        chooser().know([Choice(0, (("a", "z"),))])
