"""Effects: what a study measures, each with its interval and its twin by nested selection.

An effect is declared in the study's file::

    NAME:
      kind: difference     # or mean, share, at_zeros, rank; difference where it is left out
      what: from q* = 0.25 to 16, mean over the sparsities
      where: {part: main}  # fields of all its runs; a list is any of these values
      from: {q: 0.25}      # difference: of these runs
      to: {q: 16}          #   to those; or pairs: [[FROM, TO], ...]
      of: {skip: 0}        # mean, share, rank: of these runs
      each: [sparsity]     # one pair, or arm, for each value; all pooled, a seed counted once
      choose: [clip]       # fields that validation chooses, beside the study's tuned ones
      measure: zeros_end   # a quantity; test_accuracy where it is left out
      rates: all           # share: of all the values tried, not only of those chosen
      ours: {part: clipped}              # at_zeros: these arms
      rivals: [{part: topk}, ...]        #   and each rival's; {thresholded: true}: cut off
      with: noise, hold: contraction     # rank: two predictions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.arms import Arm, arms
from sparsefield.studies.equal_zeros import Setting, meet, settings
from sparsefield.studies.quantities import Quantity, quantity
from sparsefield.studies.ranks import rank_correlation
from sparsefield.studies.record import Record
from sparsefield.studies.study import Study
from sparsefield.sweep.statistics import DIFFERENCES, NONE, BySeed, Interval, mean, pooled, share

KEYS = (
    *("kind", "what", "where", "from", "to", "pairs", "of", "each", "choose", "measure"),
    *("rates", "ours", "rivals", "with", "hold"),
)
RANK = Quantity("rank correlation", lambda row: None, 2, share=False)


@dataclass(frozen=True)
class Effect:
    """What a record says of an effect.

    ``found`` and, by nested selection (see :meth:`Arm.nested`), ``nested``: equal where nothing was
    chosen. ``change``: it is no level, so zero would say that there is none. ``why`` it is missing,
    where the record does not fit the declaration.
    """

    name: str
    what: str
    found: Interval
    nested: Interval
    quantity: Quantity
    change: bool
    why: str = ""

    @property
    def verdict(self) -> str:
        """Rises, falls, open (the interval holds zero), unknown (too few seeds), missing; value."""
        return self._verdict(self.found)

    @property
    def nested_verdict(self) -> str:
        """The same of the nested twin."""
        return self._verdict(self.nested)

    @property
    def told(self) -> str:
        """Both verdicts, the twin's where it differs; nothing of a level."""
        twin = "" if self.nested_verdict == self.verdict else f", nested {self.nested_verdict}"
        return f"{self.verdict}{twin}" if self.change else ""

    @property
    def short(self) -> str:
        """The size of what was found, alone."""
        return self.quantity.short(self.found, signed=self.change)

    def text(self, found: Interval) -> str:
        """An interval of this effect, with its unit."""
        return self.quantity.text(found, signed=self.change)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON, which knows no NaN: null."""
        found, nested = (
            {key: None if value != value else value for key, value in asdict(one).items()}
            for one in (self.found, self.nested)
        )
        verdicts = {"verdict": self.verdict, "nested_verdict": self.nested_verdict}
        return {"name": self.name, "what": self.what, "found": found, "nested": nested, **verdicts}

    def _verdict(self, found: Interval) -> str:
        if not (self.change and found.known):
            return "missing" if not found.n else "unknown" if self.change else "value"
        if not found.excludes(0.0):
            return "open"
        return "rises" if found.estimate > 0 else "falls"


class _Unfit(Exception):
    """A record of other runs than an effect was declared for."""


@dataclass(frozen=True)
class Runs:
    """The runs of a record as an effect reads them."""

    name: str
    spec: Mapping[str, Any]
    record: Record
    nested: bool

    def __getitem__(self, key: str) -> Any:
        if key not in self.spec:
            raise InvalidInput(f"effect {self.name}: {key}: is needed")
        return self.spec[key]

    @property
    def measure(self) -> str:
        """The name of the quantity."""
        return str(self.spec.get("measure", "test_accuracy"))

    def arms(self, selector: Mapping[str, Any]) -> list[Arm]:
        """The arms that fit, by nested selection where that is asked for."""
        where = {**self.spec.get("where", {}), **selector}
        choose, each = (self.spec.get(key, ()) for key in ("choose", "each"))
        found = arms(self.record, where, choose=choose, each=each)
        return [arm.nested() for arm in found] if self.nested else list(found)

    def by_seed(self, selector: Mapping[str, Any]) -> dict[tuple[Any, ...], BySeed]:
        """The measure of the one arm that there must be for each value of ``each``."""
        found: dict[tuple[Any, ...], Arm] = {}
        for arm in self.arms(selector):
            key = tuple(str(arm[field]) for field in self.spec.get("each", ()))
            if key in found:
                raise _Unfit(
                    f"{dict(selector)} leaves several arms, which differ in "
                    f"{', '.join(_differing(found[key], arm))}: "
                    "name these in where or in each, or let validation choose"
                )
            found[key] = arm
        return {key: arm.by_seed(self.measure) for key, arm in found.items()}


def effects(study: Study, record: Record) -> dict[str, Effect]:
    """Every effect of a study, by its name."""
    return {name: effect(study, record, name) for name in study.effects}


def effect(study: Study, record: Record, name: str) -> Effect:
    """One effect of a study; InvalidInput if it declares none of that name, or one that is none."""
    if name not in study.effects:
        there = ", ".join(study.effects) or "none"
        raise InvalidInput(f"study {study.name}: has no effect {name!r}; there are {there}")
    spec = study.effects[name]
    odd = [key for key in spec if key not in KEYS]
    kind = spec.get("kind", "difference")
    if odd or kind not in _KINDS:
        raise InvalidInput(f"effect {name}: {odd[0] if odd else kind}: is not known to effects")
    measure = "failed" if kind == "share" else spec.get("measure", "test_accuracy")
    shown = RANK if kind == "rank" else quantity(measure)
    change = shown.signed or kind not in ("mean", "share")
    told = name, str(spec.get("what", ""))
    try:
        found, twin = (_KINDS[kind](Runs(name, spec, record, nested)) for nested in (False, True))
    except _Unfit as error:
        return Effect(*told, NONE, NONE, shown, change, str(error))
    return Effect(*told, found, twin, shown, change)


def _difference(runs: Runs) -> Interval:
    spec = runs.spec
    sides = []
    for one, other in spec.get("pairs") or [[runs["from"], runs["to"]]]:
        a, b = runs.by_seed(one), runs.by_seed(other)
        sides += [(a[key], b[key]) for key in a if key in b]
    low, high = quantity(runs.measure).within
    return pooled(sides, within=(-max(high, -low), high))


def _mean(runs: Runs) -> Interval:
    found = list(runs.by_seed(runs.spec.get("of", {})).values())
    within = quantity(runs.measure).within
    if len(found) == 1:
        return mean(list(found[0].values()), within=within)
    return pooled([(dict.fromkeys(by_seed, 0.0), by_seed) for by_seed in found], within=within)


def _share(runs: Runs) -> Interval:
    """Failed runs, of the values chosen or of all that were tried."""
    found = runs.arms(runs.spec.get("of", {}))
    groups = [arm.candidates if runs.spec.get("rates") == "all" else [arm.rows] for arm in found]
    failed = [bool(row["failed"]) for group in groups for rows in group for row in rows]
    return share(sum(failed), len(failed))


def _at_zeros(runs: Runs) -> Interval:
    rivals = [_method(runs, one) for one in runs["rivals"]]
    met = meet(_method(runs, runs["ours"]), rivals).values()
    return pooled([(ours.accuracy, rival.accuracy) for ours, rival in met], within=DIFFERENCES)


def _method(runs: Runs, selector: Mapping[str, Any]) -> list[Setting]:
    kept = {key: value for key, value in selector.items() if key != "thresholded"}
    return settings(runs.arms(kept), cut="thresholded" in selector)


def _rank(runs: Runs) -> Interval:
    made = [arm for arm in runs.arms(runs.spec.get("of", {})) if arm.by_seed(runs.measure)]
    names = [runs.spec[key] for key in ("with", "hold") if key in runs.spec]
    return rank_correlation(
        [arm.mean(runs.measure).estimate for arm in made],
        *([_better(name, arm) for arm in made] for name in names),
    )


def _better(name: str, arm: Arm) -> float:
    """A prediction, more of it being better: slower contraction, less noise of the gradient."""
    value = quantity(name).of(arm.rows[0])
    if value is None:
        raise _Unfit(f"theory has no {name} for {arm['family']} of part {arm['part']}")
    return -value if name == "noise" else value


def _differing(one: Arm, other: Arm) -> Iterator[str]:
    fields = one.candidates[0][0].config
    return (name for name in ("part", *fields) if one[name] != other[name])


_KINDS = {
    "difference": _difference,
    "mean": _mean,
    "share": _share,
    "at_zeros": _at_zeros,
    "rank": _rank,
}
