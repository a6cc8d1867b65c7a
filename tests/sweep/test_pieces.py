"""pieces.json: settled once."""

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.sweep.folder import opened, place, waiting
from sparsefield.sweep.pieces import PIECES, Piece, Pieces, read_pieces, settle
from sparsefield.sweep.plan import read_plan


def work(_):
    return 1.0


@pytest.fixture
def settling(tmp_path):
    """Settle a sweep's pieces in the directory of the test and record them."""

    def settled(content, jobs=1, together=True):
        plan = read_plan(content)
        with opened(tmp_path, plan):
            left = waiting(tmp_path, plan)
            pieces = settle(tmp_path, plan, left, work=work, jobs=jobs, together=together)
            pieces.write()
        assert read_pieces(tmp_path, plan) == pieces.pieces
        return pieces

    return settled


def shape(pieces):
    return [(*(run.name for run in piece.runs), piece.together) for piece in pieces.pieces]


def test_pieces_stay_as_they_are_whatever_the_jobs_are_then(settling, small):
    first = settling(small(seeds=2))
    names = ("q1-seed0", "q4-seed0", "q1-seed1", "q4-seed1")
    assert shape(first) == [(*names, None)]
    assert shape(settling(small(seeds=2), jobs=4)) == shape(first)


def test_other_jobs_from_the_beginning_are_other_pieces(settling, small):
    assert len(settling(small(seeds=2), jobs=2).pieces) == 2


def test_runs_that_are_added_are_pieces_of_their_own(settling, small):
    first = settling(small())
    found = settling(small(seeds=3), jobs=2)
    assert shape(found)[:1] == shape(first)
    assert shape(found)[1:] == [("q1-seed1", "q4-seed1", None), ("q1-seed2", "q4-seed2", None)]


def test_a_run_that_was_begun_alone_stays_alone(settling, small, tmp_path):
    begun = place(tmp_path, read_plan(small(seeds=2)).runs[1])
    with opened(tmp_path, read_plan(small(seeds=2))):
        begun.mkdir()
        (begun / "checkpoint").touch()
    assert shape(settling(small(seeds=2))) == [
        ("q1-seed0", "q1-seed1", "q4-seed1", None),
        ("q4-seed0", False),
    ]


def test_a_single_run_of_its_kind_is_not_measured(settling, small):
    content = small() | {"grid": {"depth": [3, 4]}}
    assert set(shape(settling(content))) == {("depth3-seed0", False), ("depth4-seed0", False)}


def test_never_settles_what_is_not_decided_and_nothing_else(settling, small, tmp_path):
    pieces = settling(small(seeds=4), jobs=2)
    pieces.decide({"q1-seed0"}, together=True)
    assert [piece.together for piece in settling(small(seeds=4), together=False).pieces] == [
        True,
        False,
    ]
    assert [piece.together for piece in settling(small(seeds=4)).pieces] == [True, False]


def test_never_from_the_beginning_is_each_alone(settling, small):
    assert shape(settling(small(), together=False)) == [("q1-seed0", False), ("q4-seed0", False)]


def test_which_runs_may_train_together(plan):
    first, second = plan.runs
    pieces = Pieces([Piece((first,), False), Piece((second,), None)])
    assert pieces.grouped(plan.runs) == [second]
    assert pieces.grouped([first]) == []


DAMAGED = {
    "cut off": ('{"pieces": [', "is damaged"),
    "no bool": ('{"pieces": [{"runs": ["q1-seed0"], "together": "yes"}]}', "is damaged"),
    "another run": ('{"pieces": [{"runs": ["q9"], "together": null}]}', "names run q9, which"),
}


@pytest.mark.parametrize(("text", "says"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path, plan, text, says):
    (tmp_path / PIECES).write_text(text)
    with pytest.raises(InvalidInput, match=f"{PIECES}: {says}"):
        read_pieces(tmp_path, plan)
