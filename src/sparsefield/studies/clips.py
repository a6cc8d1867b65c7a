"""The clips of a record, each beside the chance that theory gives the variance to escape."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sparsefield.errors import SparsefieldError
from sparsefield.studies.arms import Arm, arms, best_of
from sparsefield.studies.labels import HEIGHTS
from sparsefield.studies.reading import told
from sparsefield.studies.record import Record, differing
from sparsefield.theory import CriticalPoint
from sparsefield.theory.design import ESCAPE, safe_clip
from sparsefield.theory.finite_width import finite_width
from sparsefield.train import TrainConfig

_CLIP_FIELDS = ("family", *HEIGHTS)
_UNSEEN = 1e-6  # a chance that no plot and no reader tells from a smaller one


@dataclass(frozen=True, eq=False)
class Clip:
    """An arm; its clip in units of sqrt(q*), infinite without one; its predicted escape."""

    arm: Arm
    height: float
    escape: float

    @property
    def finite(self) -> bool:
        """Whether there is a clip."""
        return math.isfinite(self.height)

    @property
    def allowed(self) -> bool:
        """Whether the rule allows it."""
        return self.escape < ESCAPE

    @property
    def name(self) -> str:
        """In words."""
        return f"clip {self.height:g}" if self.finite else "no clip"

    @property
    def known_as(self) -> str:
        """In words, with the prediction."""
        return f"{self.name} ({percent(self.escape)} % predicted to escape)"


@dataclass(frozen=True)
class Network:
    """Clips of a network that is one otherwise, from low to high, and what the rule makes of them.

    ``where`` names the network among others, ``line`` is the largest clip that the rule allows
    (NaN: none), ``rule`` the largest of those run, ``best`` the most accurate by validation.
    """

    where: str
    clips: tuple[Clip, ...]
    line: float

    @property
    def rule(self) -> Clip | None:
        """The largest clip run that the rule allows."""
        return max((c for c in self.clips if c.allowed), key=lambda c: c.height, default=None)

    @property
    def best(self) -> Clip | None:
        """The most accurate clip by validation; None where no run has a result."""
        made = [clip for clip in self.clips if clip.arm.by_seed()]
        return max(made, key=lambda clip: clip.arm.validated(), default=None)

    @property
    def chosen(self) -> Arm:
        """The arm of the best clip, chosen from those of all clips."""
        return best_of([clip.arm for clip in self.clips])

    def after(self, clip: Clip) -> Clip | None:
        """The next larger clip."""
        return next((c for c in self.clips if c.height > clip.height), None)

    def before(self, clip: Clip) -> Clip | None:
        """The next smaller clip."""
        return next((c for c in reversed(self.clips) if c.height < clip.height), None)


def by_network(record: Record) -> tuple[Network, ...]:
    """The arms of a record as clips, by the network that they share."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms(record):
        groups.setdefault(_but_clip(arm, record.tuned), []).append(arm)
    fields = differing([group[0].config for group in groups.values()])
    unsaid = _CLIP_FIELDS if len({_kind(group[0]) for group in groups.values()}) == 1 else HEIGHTS
    fields = tuple(f for f in fields if f not in (*unsaid, *record.tuned))
    return tuple(_network(group, fields) for group in groups.values())


def percent(chance: float) -> str:
    """A chance in per cent, to two digits."""
    if math.isnan(chance):
        return "unknown"
    if chance < _UNSEEN:
        return f"< {100 * _UNSEEN:.4f}"
    return f"{100 * chance:.2g}"


def _but_clip(arm: Arm, tuned: Sequence[str]) -> str:
    """All that arms of one network share: the clip aside, the family is one of two."""
    left_out = {*_CLIP_FIELDS, *tuned}
    kept = {name: value for name, value in arm.config.items() if name not in left_out}
    return json.dumps([_kind(arm), kept])


def _kind(arm: Arm) -> str:
    """The family, clipped or not."""
    kind: str = arm["family"].removeprefix("c")
    return kind


def _network(group: Sequence[Arm], fields: Sequence[str]) -> Network:
    clips = sorted((_clip(arm) for arm in group), key=lambda clip: clip.height)
    where = f"At {told(group[0], fields)}: " if fields else ""
    return Network(where, tuple(clips), _line(group[0]))


def _clip(arm: Arm) -> Clip:
    config = TrainConfig(**arm.config)
    try:
        point = config.point()
    except SparsefieldError:  # no stable q*: the runs could not begin either
        return Clip(arm, math.inf if config.clip is None else float(config.clip), math.nan)
    assert isinstance(point, CriticalPoint)  # top-k has no clip
    vmap, (width, depth) = point.variance_map(config.skip), (config.width, config.depth)
    chance = finite_width(vmap, config.q, width=width, depth=depth).escape_probability
    return Clip(arm, math.inf if point.clip is None else point.clip, chance)


def _line(arm: Arm) -> float:
    """The clip that ``clip: auto`` takes for this network; NaN where none is safe."""
    try:
        return _safe(f"c{_kind(arm)}", arm["sparsity"], arm["width"], arm["depth"], arm["chi1"])
    except SparsefieldError:
        return math.nan


@cache
def _safe(family: str, sparsity: float, width: int, depth: int, chi1: float) -> float:
    return safe_clip(family, sparsity=sparsity, width=width, depth=depth, chi1=chi1)
