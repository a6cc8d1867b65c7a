"""Ways to zeros, each at what it reached: accuracy and zeros by seed, and who may be compared.

Two are compared where the one has at least as many zeros as the other, less ``MARGIN``: no lead is
bought with fewer of them. A network that learnt nothing is no answer to one that did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sparsefield.studies.arms import Arm
from sparsefield.studies.labels import FAMILIES, phrase
from sparsefield.studies.record import differing
from sparsefield.sweep.statistics import (
    DIFFERENCES,
    SHARES,
    BySeed,
    Interval,
    mean,
    paired,
)
from sparsefield.train.config import CLIPPED

MARGIN = 0.01  # share of zeros: two that differ by less count as equally sparse
DENSE, THRESHOLDS = "dense ReLU", "thresholds"


@dataclass(frozen=True)
class Contender:
    """One method at one setting, with or without the skip.

    Attributes
    ----------
    method, setting
        in words; the setting may be empty.
    skip
        share of the variance that it carries.
    ours
        whether it is a clipped activation of this library.
    accuracy
        on the test set by seed, failed runs too.
    zeros
        by seed, of the runs that did not fail; of all where every run failed. A dead network has
        nothing but zeros, and would make its arm look sparse.
    validation
        mean accuracy by which to choose, see :meth:`Arm.validated`; None where there is none.
    failed
        whether every run failed.
    knob
        what the method is turned by: the weight of its penalty, the sparsity asked for, the level.
    """

    method: str
    setting: str
    skip: float
    ours: bool
    accuracy: BySeed
    zeros: BySeed
    validation: float | None
    failed: bool
    knob: float = 0.0

    @property
    def name(self) -> str:
        """Method and setting."""
        return f"{self.method}, {self.setting}" if self.setting else self.method

    def accurate(self) -> Interval:
        """Mean accuracy."""
        return mean(list(self.accuracy.values()), within=SHARES)

    def sparse(self) -> Interval:
        """Mean share of zeros."""
        return mean(list(self.zeros.values()), within=SHARES)


@dataclass(frozen=True)
class Match:
    """Two contenders, the rival with at least as many zeros as ours or ours with as many as it."""

    ours: Contender
    rival: Contender

    @property
    def lead(self) -> Interval:
        """Accuracy of the rival less ours, by seed."""
        return paired(self.ours.accuracy, self.rival.accuracy, within=DIFFERENCES)


def method_of(arm: Arm) -> str:
    """What makes an arm's zeros.

    Dense is ReLU at sparsity 0.5, whose zeros nothing was done for.
    """
    if arm["penalty"] != "none":
        return phrase("penalty", arm["penalty"])
    if arm["family"] == "relu" and arm["sparsity"] == 0.5:
        return DENSE
    return FAMILIES[arm["family"]]


def contenders(arms: Sequence[Arm]) -> tuple[Contender, ...]:
    """Every arm that has accuracy and zeros, methods together in the order of the record."""
    kinds = dict.fromkeys((method_of(arm), arm["skip"]) for arm in arms)
    groups = [[arm for arm in arms if (method_of(arm), arm["skip"]) == kind] for kind in kinds]
    found = [_contender(arm, group) for group in groups for arm in group]
    return tuple(one for one in found if one.accuracy and one.zeros)


def cut_off(arms: Iterable[Arm]) -> tuple[Contender, ...]:
    """The dense arms with thresholds on their trained activations, from low levels to high."""
    return tuple(found for arm in arms for found in _levels(arm))


def as_sparse(among: Iterable[Contender], reference: Contender) -> list[Contender]:
    """Those that train, with at least as many zeros as the reference, less MARGIN, at its skip."""
    least = reference.sparse().estimate - MARGIN
    among = (one for one in among if not one.failed)
    return [one for one in among if one.skip == reference.skip and one.sparse().estimate >= least]


def preferred(among: Sequence[Contender]) -> Contender | None:
    """The one that validation chooses; without validation the first."""
    return max(among, key=lambda one: one.validation or 0.0) if among else None


def _contender(arm: Arm, group: Sequence[Arm]) -> Contender:
    alive = {row.seed: row["zeros_end"] for row in arm.rows if not row["failed"]}
    zeros = alive or arm.by_seed("zeros_end")
    return Contender(
        method=method_of(arm),
        setting=_setting(arm, group),
        skip=arm["skip"],
        ours=arm["family"] in CLIPPED,
        accuracy=arm.by_seed(),
        zeros={seed: share for seed, share in zeros.items() if share is not None},
        validation=arm.validated(),
        failed=arm.failed == arm.n,
        knob=arm["sparsity"] if arm["penalty"] == "none" else arm["penalty_weight"],
    )


def _setting(arm: Arm, group: Sequence[Arm]) -> str:
    """The fields in which an arm stands out among those of its method and skip."""
    penalised = arm["penalty"] != "none"
    names = ("penalty_weight",) if penalised else () if method_of(arm) == DENSE else ("sparsity",)
    odd = [name for name in differing([one.config for one in group]) if name not in arm.tuned]
    shown = [name for name in dict.fromkeys((*names, *odd)) if arm[name] is not None]
    return ", ".join(phrase(name, arm[name]).removeprefix("penalty ") for name in shown)


def _levels(arm: Arm) -> Iterator[Contender]:
    curves = {row.seed: row["thresholded"] for row in arm.rows if row["thresholded"]}
    for level in sorted({level for curve in curves.values() for level, *_ in curve}):
        found = {
            seed: (accuracy, zeros)
            for seed, curve in curves.items()
            for at, accuracy, zeros in curve
            if at == level and None not in (accuracy, zeros)
        }
        if found:
            yield Contender(
                THRESHOLDS,
                f"level {level:g}",
                arm["skip"],
                ours=False,
                accuracy={seed: accuracy for seed, (accuracy, _) in found.items()},
                zeros={seed: zeros for seed, (_, zeros) in found.items()},
                validation=None,
                failed=False,
                knob=level,
            )
