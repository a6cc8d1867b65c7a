"""The verdict on a fixed point, and its reasons in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .fixed_points import FixedPoint, Portrait

_SLOW = 0.95  # of a deviation: if one layer leaves more, finite width carries Q away
_WIDE = 3.5  # standard deviations of Q to the nearest edge: then under 1 % escape in 100 layers


@dataclass(frozen=True)
class Facts:
    """What the verdict is made from."""

    q: float
    skip: float
    slope: float
    kept_above: float
    kept_below: float
    chi1: float
    found: Portrait
    q_std: float | None

    @property
    def star(self) -> FixedPoint:
        """q* among the fixed points."""
        return next(p for p in self.found.points if p.q == self.q)

    @property
    def repelling(self) -> float | None:
        """The nearest point that is not stable, by ratio."""
        if self.found.identity:
            return None
        away = [p.q for p in self.found.points if not p.stable]
        return min(away, key=lambda at: abs(math.log(at / self.q)), default=None)

    def judge(self) -> tuple[str, tuple[str, ...]]:
        """The verdict and its reasons."""
        if self.star.kind == "repels":
            return "unstable", (
                f"V'(q*) = {self.slope:.6g}: q* = {self.q:g} repels",
                *self._notes(),
            )
        weak = tuple(self._weaknesses())
        if weak:
            return "fragile", (*weak, *self._notes())
        held = (
            f"of an excess of q* a layer leaves {self.kept_above:.3g}, "
            f"of a deficit of q*/2 {self.kept_below:.3g}"
        )
        company = "no other fixed point" if self.found.unique else "the others are far"
        return "stable", (f"V'(q*) = {self.slope:.3g} and {company}", held, *self._notes())

    def _weaknesses(self) -> Iterator[str]:
        if self.found.identity:
            yield "V(q) = q for every q: no variance is kept, none is restored"
            return
        if self.star.kind == "marginal":
            yield self._sides()
        near, low, high = self.repelling, *(end / self.q for end in self.found.basin)
        if near is not None and near != self.q and 0.5 < near / self.q < 2.0:
            yield f"a repelling fixed point at {near / self.q:.4g} q* is within a factor 2 of q*"
        elif self.star.stable and (low > 0.5 or high < 2.0):
            yield f"the basin ({low:.3g} q*, {high:.3g} q*) does not hold [q*/2, 2 q*]"
        elif self.star.stable and abs(self._slowest()[1]) > _SLOW:
            yield self._slow()
        yield from self._spread()

    def _sides(self) -> str:
        low, high = self.found.basin
        ways = {(True, False): "above", (False, True): "below", (False, False): "both sides"}
        away = ways.get((low < self.q, high > self.q))
        if away is None:
            return f"V'(q*) = {self.slope:.6g}: deviations leave slower than exponentially"
        return f"V'(q*) = {self.slope:.6g}: the variance runs away from q* {_towards(away)}"

    def _slowest(self) -> tuple[str, float]:
        """What a layer leaves of the deviation that lasts longer; of its own part beside a skip."""
        kept = (("2 q*", self.kept_above), ("q*/2", self.kept_below))
        plain = [(start, (left - self.skip) / (1.0 - self.skip)) for start, left in kept]
        return max(plain, key=lambda pair: abs(pair[1]))

    def _slow(self) -> str:
        start, left = self._slowest()
        beside = " (the skip apart)" if self.skip else ""
        return f"from {start} a layer{beside} leaves {left:.3g} of the deviation: it hardly returns"

    def _spread(self) -> Iterator[str]:
        """Whether the fluctuations at the given width fit between q* and the ends of the basin."""
        if self.q_std is None or self.star.kind != "stable":
            return
        low, high = max(self.found.basin[0], self.q / 2.0), min(self.found.basin[1], 2.0 * self.q)
        room = min(self.q - low, high - self.q) / self.q_std
        if room < _WIDE:
            yield (
                f"at this width Q wanders by {self.q_std / self.q:.3g} q* (std): the edge of the "
                f"basin, or of [q*/2, 2 q*], is {room:.2g} of them away and should be {_WIDE:g}"
            )

    def _notes(self) -> Iterator[str]:
        if len(self.found.points) > 1:
            others = ", ".join(
                f"{p.q / self.q:.4g} q* ({p.kind})" for p in self.found.points if p.q != self.q
            )
            yield f"other fixed points: {others}"
        if abs(self.chi1 - 1.0) > 1e-6:
            grow = "grow" if self.chi1 > 1.0 else "shrink"
            yield f"chi_1(q*) = {self.chi1:.6g}: squared gradients {grow} by that a layer"


def _towards(side: str) -> str:
    return "on both sides" if side == "both sides" else f"from {side}"
