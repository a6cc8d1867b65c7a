"""What the workers of a sweep do next, and what follows from how it ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from sparsefield.sweep.engine import RETRIES, Listener, killed
from sparsefield.sweep.failure import Failure
from sparsefield.sweep.pieces import Piece, Pieces
from sparsefield.sweep.plan import Planned
from sparsefield.train.grouping import representative

Does = Literal["alone", "together", "measure", "disband"]
Answer = str | bool | None  # what was raised, whether together is faster, or nothing


@dataclass(frozen=True)
class Task:
    """What one worker does: with all runs of a piece, of which ``open`` have no result yet."""

    does: Does
    runs: tuple[Planned, ...]
    open: tuple[Planned, ...]
    attempt: int = 1

    @property
    def made(self) -> tuple[Planned, ...]:
        """The runs that this task makes."""
        return self.open if self.does in ("alone", "together") else ()

    @property
    def name(self) -> str:
        """For messages."""
        more = len(self.open) - 1
        return self.open[0].name + (f" and {more} more" if more else "")

    @cached_property
    def question(self) -> Any:
        """The same for tasks that one measurement answers: kind of network and size of piece."""
        return representative(self.runs[0].config), len(self.runs)


class Agenda:
    """The tasks that wait, in order.

    Parameters
    ----------
    left
        The runs that are to be made.
    pieces
        They and others, as the directory records them.
    heard
        Hears how runs end.
    """

    def __init__(self, left: Sequence[Planned], pieces: Pieces, heard: Listener) -> None:
        self._pieces, self._heard = pieces, heard
        wanted = {run.name for run in left}
        self.waiting = [task for piece in pieces.pieces for task in _tasks(piece, wanted)]
        names = (run.name for piece in pieces.pieces for run in piece.runs)
        self._order = {name: place for place, name in enumerate(names)}
        self._asked: set[Any] = set()

    def next(self) -> Task | None:
        """Take the first task that can be done now; None while all wait for a measurement."""
        for place, task in enumerate(self.waiting):
            if task.does != "measure":
                return self.waiting.pop(place)
            if task.question not in self._asked:
                self._asked.add(task.question)
                return self.waiting.pop(place)
        return None

    def ended(self, task: Task, answer: Answer) -> None:
        """A worker has done the task."""
        if task.does == "measure":
            self._decide(task, together=answer is True)
        elif task.does == "disband" and answer is None:
            self._pieces.decide({task.runs[0].name}, together=False)
            self._add(_alone(task.open))
        elif task.does == "together" and answer is not None:
            self._disband(task, str(answer))
        else:
            failure = Failure(str(answer), "raised") if answer else None
            self._end(task, [failure] * len(task.open))

    def killed(self, task: Task) -> None:
        """The worker was killed: once is no answer."""
        if task.attempt <= RETRIES:
            self._heard.note(f"{task.name}: its process was killed; it is tried again")
            self._add([replace(task, attempt=task.attempt + 1)])
            self._asked -= {task.question} if task.does == "measure" else set()
        elif task.does == "measure":
            self._decide(task, together=False)
        elif task.does == "together":
            self._disband(task, f"their process was killed {task.attempt} times")
        else:
            self._end(task, [killed(run, task.attempt) for run in task.open])

    def _decide(self, task: Task, *, together: bool) -> None:
        """Record the answer, for every piece that it is the answer for, before one begins."""
        self._add([task])
        steps = [(other, _same_question(other, task)) for other in self.waiting]
        names = {other.runs[0].name for other, asked in steps if asked}
        self._pieces.decide(names, together=together)
        decided = [_decided(other, together) if asked else [other] for other, asked in steps]
        self.waiting = [other for others in decided for other in others]

    def _disband(self, task: Task, reason: str) -> None:
        self._heard.note(f"{task.name}: not together ({reason}); each goes on alone")
        self._add([Task("disband", task.runs, task.open)])

    def _end(self, task: Task, failures: Sequence[Failure | None]) -> None:
        for run, failure in zip(task.open, failures, strict=True):
            self._heard.ended(run, failure)

    def _add(self, tasks: Sequence[Task]) -> None:
        """In their place: what comes first in the record is begun first, in every resumed sweep."""
        self.waiting = sorted(
            [*tasks, *self.waiting], key=lambda task: self._order[task.runs[0].name]
        )


def _tasks(piece: Piece, wanted: Collection[str]) -> Iterator[Task]:
    left = tuple(run for run in piece.runs if run.name in wanted)
    if not left:
        return
    if piece.together is False:
        yield from _alone(left)
    else:
        yield Task("together" if piece.together else "measure", piece.runs, left)


def _alone(runs: Sequence[Planned]) -> list[Task]:
    return [Task("alone", (run,), (run,)) for run in runs]


def _decided(task: Task, together: bool) -> list[Task]:
    return [Task("together", task.runs, task.open)] if together else _alone(task.open)


def _same_question(one: Task, other: Task) -> bool:
    return one.does == other.does == "measure" and one.question == other.question
