"""The papers' formulas in arbitrary precision, written independently of the library's route.

Where the library integrates piece by piece without cancellation, this evaluates differences of
erfc, delta terms included, with so many digits that the cancellation does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath as mp

from sparsefield.theory import PiecewiseLinear

DIGITS = 160


def density(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def tail(x):
    """1 - Phi(x)."""
    return mp.erfc(x / mp.sqrt(2)) / 2


@dataclass
class OneSided:
    """CReLU (or shifted ReLU for m = inf) by the formulas of [P24] and [DT26]."""

    tau: mp.mpf
    m: mp.mpf
    sides: int = 1

    def ends(self, q):
        return self.tau / mp.sqrt(q), (self.tau + self.m) / mp.sqrt(q)

    def active(self, q):
        """P, times the number of sides."""
        a, b = self.ends(q)
        return self.sides * (tail(a) - tail(b))

    def second_moment(self, q):
        a, b = self.ends(q)
        mass = tail(a) - tail(b)
        clipped = 0 if mp.isinf(b) else b * density(b)
        top = 0 if mp.isinf(b) else self.m**2 * tail(b)
        inner = q * (mass + a * density(a) - clipped)
        cross = 2 * self.tau * mp.sqrt(q) * (density(a) - density(b))
        return self.sides * (inner - cross + self.tau**2 * mass + top)

    def slope(self, q):
        """d E[phi^2] / dq with the delta at the clip."""
        _, b = self.ends(q)
        delta = 0 if mp.isinf(b) else self.m / mp.sqrt(q) * density(b)
        return self.active(q) - self.sides * delta

    def curvature(self, q):
        """Derivative of :meth:`slope`, term by term: da/dq = -a / (2 q)."""
        a, b = self.ends(q)
        at_b = 0 if mp.isinf(b) else -b * density(b)
        moving = (at_b + a * density(a)) / (2 * q)
        delta = 0
        if not mp.isinf(b):
            delta = self.m * density(b) * (b * b - 1) / (2 * q * mp.sqrt(q))
        return self.sides * (moving - delta)


def family(name: str, tau: float, m: float | None) -> OneSided:
    height = mp.inf if m is None else mp.mpf(m)
    return OneSided(mp.mpf(tau), height, 2 if name in ("cst", "st") else 1)


def threshold(name: str, sparsity: float):
    """tau / sqrt(q*) in full precision."""
    s = mp.mpf(sparsity)
    share = (1 - s) / 2 if name in ("cst", "st") else 1 - s
    return mp.sqrt(2) * mp.erfinv(1 - 2 * share)


def moments_by_quadrature(phi: PiecewiseLinear, q: float):
    """(E phi^2, E phi'^2, d E phi^2 / dq) of any piecewise-linear phi, deltas as deltas."""
    knots = exact_knots(phi)
    values = [mp.mpf(float(v)) for v in phi.values]
    slopes = [mp.mpf(float(s)) for s in phi.slopes]
    root = mp.sqrt(mp.mpf(q))
    ends = [-mp.inf, *(k / root for k in knots), mp.inf]
    second = gain = mp.mpf(0)
    for i, s in enumerate(slopes):
        k, v = (knots[0], values[0]) if i == 0 else (knots[i - 1], values[i - 1])
        c = v - s * k  # phi = s x + c on this piece
        m0, m1, m2 = _truncated(ends[i], ends[i + 1])
        second += s * s * q * m2 + 2 * s * c * root * m1 + c * c * m0
        gain += s * s * m0
    kinks = zip(knots, values, slopes, slopes[1:], strict=False)
    deltas = sum((after - before) * v * density(k / root) / root for k, v, before, after in kinks)
    return second, gain, gain + deltas


def exact_knots(phi: PiecewiseLinear):
    """The knots that the values and slopes imply: tau + m in doubles is not tau + m."""
    knots = [mp.mpf(float(phi.knots[0]))]
    for i in range(1, len(phi.knots)):
        rise = mp.mpf(float(phi.values[i])) - mp.mpf(float(phi.values[i - 1]))
        s = mp.mpf(float(phi.slopes[i]))
        knots.append(mp.mpf(float(phi.knots[i])) if s == 0 else knots[-1] + rise / s)
    return knots


def _truncated(a, b):
    """int_a^b z^j density(z) dz for j = 0, 1, 2."""
    edge_a = 0 if mp.isinf(a) else a * density(a)
    edge_b = 0 if mp.isinf(b) else b * density(b)
    mass = tail(a) - tail(b) if b > 0 else tail(-b) - tail(-a)
    return mass, density(a) - density(b), mass + edge_a - edge_b
