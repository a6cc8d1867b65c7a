"""What follows from what a worker did, without workers."""

import pytest

from sparsefield.sweep.agenda import Agenda
from sparsefield.sweep.failure import Failure
from sparsefield.sweep.pieces import Piece, Pieces
from sparsefield.sweep.plan import read_plan


@pytest.fixture
def four(small):
    """Four runs that can train together."""
    return read_plan(small(seeds=2)).runs


def agenda(hearing, *pieces, left=None):
    held = Pieces([Piece(tuple(runs), together) for runs, together in pieces])
    runs = [run for piece in held.pieces for run in piece.runs]
    return Agenda(runs if left is None else left, held, hearing), held


def told(task):
    return task.does, [run.name for run in task.open]


def rest(made):
    return [told(task) for task in iter(made.next, None)]


def names(runs):
    return [run.name for run in runs]


@pytest.mark.parametrize("answer", [True, False])
def test_one_measurement_decides_for_all_pieces_of_its_size(hearing, four, answer):
    made, held = agenda(hearing, (four[:2], None), (four[2:], None))
    task = made.next()
    assert told(task) == ("measure", names(four[:2]))
    assert made.next() is None  # the other piece waits for the same answer
    made.ended(task, answer)
    assert [piece.together for piece in held.pieces] == [answer, answer]
    alone = [("alone", [run.name]) for run in four]
    pairs = [("together", names(four[:2])), ("together", names(four[2:]))]
    assert rest(made) == (pairs if answer else alone)


def test_another_size_is_another_question_and_what_is_decided_need_not_wait(hearing, small):
    runs = read_plan(small(seeds=4)).runs
    pieces = (runs[:3], None), (runs[3:5], None), (runs[5:7], None), (runs[7:], False)
    made, held = agenda(hearing, *pieces)
    first, second, third = made.next(), made.next(), made.next()
    assert [first.does, second.does, third.does] == ["measure", "measure", "alone"]
    made.ended(first, False)
    assert [piece.together for piece in held.pieces][:2] == [False, None]


def test_an_answer_that_comes_early_changes_no_order(hearing, small):
    runs = read_plan(small(seeds=3)).runs
    made, _ = agenda(hearing, (runs[:3], None), (runs[3:4], False), (runs[4:], None))
    first, third = made.next(), made.next()
    assert told(third) == ("alone", names(runs[3:4]))
    third = made.next()
    made.ended(third, True)
    made.ended(first, True)
    assert rest(made) == [("together", names(runs[:3])), ("together", names(runs[4:]))]


def test_only_what_has_no_result_is_made(hearing, four):
    made, _ = agenda(hearing, (four[:2], True), (four[2:], False), left=[four[1], four[3]])
    tasks = list(iter(made.next, None))
    assert [told(task) for task in tasks] == [("together", ["q4-seed0"]), ("alone", ["q4-seed1"])]
    assert names(tasks[0].runs) == names(four[:2])  # a group is resumed with all its members
    assert agenda(hearing, (four, True), left=[])[0].next() is None


def test_together_to_the_end(hearing, four):
    made, _ = agenda(hearing, (four, True))
    made.ended(made.next(), None)
    assert hearing.ends == dict.fromkeys(names(four))
    assert made.next() is None


def test_a_group_that_raises_goes_on_as_single_runs(hearing, four):
    made, held = agenda(hearing, (four, True))
    made.ended(made.next(), "why")
    assert hearing.notes == ["q1-seed0 and 3 more: not together (why); each goes on alone"]
    assert held.pieces[0].together  # not before every run has its own checkpoint
    task = made.next()
    assert task.does == "disband"
    made.ended(task, None)
    assert held.pieces[0].together is False
    assert rest(made) == [("alone", [run.name]) for run in four]
    assert hearing.ends == {}


def test_a_group_that_cannot_be_disbanded_has_no_result(hearing, four):
    made, held = agenda(hearing, (four, True))
    made.ended(made.next(), "why")
    made.ended(made.next(), "damaged")
    assert hearing.ends == dict.fromkeys(names(four), Failure("damaged", "raised"))
    assert held.pieces[0].together
    assert made.next() is None


def kill(made, times=1):
    for _ in range(times):
        task = made.next()
        made.killed(task)
    return task


def test_a_group_killed_once_is_tried_again(hearing, four):
    made, _ = agenda(hearing, (four[:2], True), (four[2:], True))
    kill(made)
    assert hearing.notes == ["q1-seed0 and 1 more: its process was killed; it is tried again"]
    assert rest(made) == [("together", names(four[:2])), ("together", names(four[2:]))]


def test_killed_twice_it_is_disbanded_and_each_run_is_tried_anew(hearing, four):
    made, _ = agenda(hearing, (four, True))
    kill(made, 2)
    made.ended(made.next(), None)
    assert kill(made, 2).open == four[:1]
    assert (hearing.ends["q1-seed0"].kind, hearing.ends["q1-seed0"].attempts) == ("killed", 2)
    assert rest(made) == [("alone", [run.name]) for run in four[1:]]


def test_killed_even_while_it_is_disbanded_no_run_has_a_result(hearing, four):
    made, _ = agenda(hearing, (four, True))
    assert kill(made, 4).does == "disband"
    assert {failure.kind for failure in hearing.ends.values()} == {"killed"}
    assert len(hearing.ends) == 4
    assert made.next() is None


def test_a_measurement_that_is_killed_twice_means_alone(hearing, four):
    made, held = agenda(hearing, (four[:2], None), (four[2:], None))
    assert kill(made, 2).does == "measure"
    assert [piece.together for piece in held.pieces] == [False, False]
    assert rest(made) == [("alone", [run.name]) for run in four]
