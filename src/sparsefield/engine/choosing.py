"""Which layers of a training run go on lists: expected of their zeros, measured on its steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from sparsefield.errors import InvalidInput

Way = tuple[str, ...]  # names of the layers that run on lists
DENSE: Way = ()

# Where lists are expected to gain: a layer's step on them takes about 0.1 + 1.75 d of its dense
# step, at density d (one thread, widths 300 and 1024; benchmarks/training_step.py).
FIXED, SLOPE = 0.1, 1.75
CLEARLY = 1.02  # another way must be faster by so much to be preferred to the expected one
BLOCK, ROUNDS = 3, 3  # steps that follow one another on one way, the first not counted; blocks
DRIFT = 0.1  # change of a layer's zeros after which all is measured anew
REST = 200  # steps at least from one choice to the next
SHARE = 20  # measuring takes at most one step of so many
# Multiply-adds of a forward pass below which a step is a matter of calls: 10 x 100 at batch 128.
WORK = 1e7
PIXELS = 64  # of an image, at the least


@dataclass(frozen=True)
class Choice:
    """What holds from a step on.

    Attributes
    ----------
    step
        the first that it holds for.
    ways
        one: the way that is taken. Several, the expected one first: they take turns.
    zeros
        by layer, when the choice was made.
    speedup
        seconds of a dense step over those of one on the way taken, where both were measured.
    """

    step: int
    ways: tuple[Way, ...]
    zeros: tuple[float, ...] = ()
    speedup: float | None = None

    @property
    def length(self) -> int:
        """Steps of measuring."""
        return BLOCK * ROUNDS * len(self.ways) if len(self.ways) > 1 else 0

    def at(self, step: int) -> Way:
        """The way of a step: blocks of each in turn, there and back."""
        turn, place = divmod((step - self.step) // BLOCK, len(self.ways))
        return self.ways[-1 - place if turn % 2 else place]

    def counts(self, step: int) -> bool:
        """Whether the step is measured: the first of a block finds memory as another left it."""
        return step < self.step + self.length and (step - self.step) % BLOCK > 0

    def decided(self, seconds: dict[int, float]) -> Choice:
        """The choice that the seconds of its steps lead to."""
        medians = [
            median([s for step, s in seconds.items() if self.counts(step) and self.at(step) == way])
            for way in self.ways
        ]
        fastest = min(medians)
        chosen = 0 if medians[0] <= CLEARLY * fastest else medians.index(fastest)
        return replace(
            self,
            step=self.step + self.length,
            ways=(self.ways[chosen],),
            speedup=medians[self.ways.index(DENSE)] / medians[chosen],
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Choice:
        """Back from JSON; anything may be raised where it is none of ours."""
        ways = tuple(tuple(map(str, way)) for way in values["ways"])
        zeros = tuple(map(float, values["zeros"]))
        speedup = values["speedup"]
        return cls(int(values["step"]), ways, zeros, None if speedup is None else float(speedup))


def worthwhile(model: nn.Module, batch: int) -> bool:
    """Whether the matrices of a model are work enough for a choice to matter."""
    each = sum(
        parameter.numel() * (PIXELS if parameter.dim() > 2 else 1)
        for parameter in model.parameters()
        if parameter.dim() > 1
    )
    return batch * each >= WORK


def ways_for(layers: Sequence[str], zeros: Sequence[float]) -> tuple[Way, ...]:
    """The ways worth measuring, the expected one first; dense alone where no list should gain.

    >>> ways_for(["a", "b"], [0.9, 0.8])
    (('a', 'b'), ())
    >>> ways_for(["a", "b"], [0.9, 0.2])
    (('a',), (), ('a', 'b'))
    >>> ways_for(["a", "b"], [0.3, 0.2])
    ((),)
    """
    gaining = tuple(
        name
        for name, share in zip(layers, zeros, strict=False)
        if FIXED + SLOPE * (1.0 - share) < 1.0
    )
    if not gaining:
        return (DENSE,)
    return tuple(dict.fromkeys([gaining, DENSE, tuple(layers)]))


class Chooser:
    """The choices of a run: those that are known are taken as they are, others are made.

    Parameters
    ----------
    layers
        those that can run on lists; the zeros that it is shown are of what they read.
    total
        steps of the run.
    note
        called with what :func:`read_choices` reads whenever there is a new choice.
    first
        the way as long as there is no choice.

    Attributes
    ----------
    choices
        so far, or known beforehand.
    seconds
        of the steps of the measuring that is under way.
    """

    def __init__(
        self,
        layers: Sequence[str],
        total: int,
        note: Callable[[bytes], None],
        *,
        first: Way = DENSE,
    ) -> None:
        self.choices: list[Choice] = []
        self.seconds: dict[int, float] = {}
        self._layers, self._total, self._note = tuple(layers), total, note
        self._first = Choice(0, (first,))

    def know(self, choices: Sequence[Choice]) -> None:
        """Take these as made.

        Raises
        ------
        InvalidInput
            a layer that is not here.
        """
        named = {name for choice in choices for way in choice.ways for name in way}
        if odd := sorted(named - set(self._layers)):
            raise InvalidInput(
                f"choices of layers on lists name {odd[0]}, which cannot run on lists here; "
                "take those of a run of the same network"
            )
        self.choices = list(choices)

    def look(self, step: int, zeros: Sequence[float]) -> None:
        """See the zeros before a step: the first time, and when they have drifted, choose."""
        if self.choices:
            last = self.choices[-1]
            resting = step < last.step + max(REST, last.length)  # a known one may lie ahead
            if resting or _apart(zeros, last.zeros) <= DRIFT:
                return
        trial = Choice(step, ways_for(self._layers, zeros), tuple(zeros))
        if step + SHARE * trial.length <= self._total:
            self._add(trial)
        elif self.at(step).ways != trial.ways[:1] or not self.choices:  # measuring does not pay
            self._add(replace(trial, ways=trial.ways[:1]))

    def at(self, step: int) -> Choice:
        """The choice that holds for a step."""
        held = [choice for choice in self.choices if choice.step <= step]
        return held[-1] if held else self._first

    def took(self, step: int, seconds: float) -> None:
        """A step has taken so long; the last one of the measuring decides."""
        choice = self.at(step)
        if not choice.length or step >= choice.step + choice.length:
            return
        self.seconds[step] = seconds
        ended = step + 1 == choice.step + choice.length
        if ended and choice is self.choices[-1]:
            self._add(choice.decided(self.seconds))
            self.seconds.clear()

    def _add(self, choice: Choice) -> None:
        self.choices.append(choice)
        content = {"choices": [choice.to_dict() for choice in self.choices]}
        self._note(f"{json.dumps(content, indent=1)}\n".encode())


def read_choices(path: Path) -> list[Choice]:
    """The choices that a file holds; none where there is no such file.

    Raises
    ------
    InvalidInput
        it is damaged.
    """
    if not path.exists():
        return []
    try:
        return [Choice.from_dict(values) for values in json.loads(path.read_bytes())["choices"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or delete the run"
        ) from None


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=False)), default=0.0)
