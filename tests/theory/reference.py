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
    root = mp.sqrt(mp.mpf(q))
    gain = sum(s * s * _truncated(a, b, 1)[0] for s, _, a, b in _pieces(phi, q))
    knots, values = exact_knots(phi), [mp.mpf(float(v)) for v in phi.values]
    slopes = [mp.mpf(float(s)) for s in phi.slopes]
    kinks = zip(knots, values, slopes, slopes[1:], strict=False)
    deltas = sum((after - before) * v * density(k / root) / root for k, v, before, after in kinks)
    return power_moment(phi, q, 2), gain, gain + deltas


def power_moment(phi: PiecewiseLinear, q: float, power: int):
    """E phi^power, by the binomial theorem on each piece."""
    root, total = mp.sqrt(mp.mpf(q)), mp.mpf(0)
    for s, c, a, b in _pieces(phi, q):
        moments = _truncated(a, b, power + 1)
        for k, moment in enumerate(moments):
            total += mp.binomial(power, k) * (s * root) ** k * c ** (power - k) * moment
    return total


def share_of_zeros(phi: PiecewiseLinear, q: float):
    """P(phi = 0), of the pieces on which phi is zero."""
    return sum(_truncated(a, b, 1)[0] for s, c, a, b in _pieces(phi, q) if s == 0 == c)


def joint_moment(phi: PiecewiseLinear, q1: float, q2: float, rho, *, slopes: bool = False):
    """E[phi(x) phi(y)] or E[phi'(x) phi'(y)]: the inner mean closed, the outer by quadrature."""
    s1, s2, rho = mp.sqrt(mp.mpf(q1)), mp.sqrt(mp.mpf(q2)), mp.mpf(rho)
    spread = s2 * mp.sqrt((1 - rho) * (1 + rho))  # of y given x
    knots, values = exact_knots(phi), [mp.mpf(float(v)) for v in phi.values]
    grades = [mp.mpf(float(s)) for s in phi.slopes]

    def plain(x):
        i = sum(1 for k in knots if x >= k)
        at = max(i - 1, 0)
        return grades[i] if slopes else values[at] + grades[i] * (x - knots[at])

    def mean(centre):
        """Of phi(y) or phi'(y) for y about ``centre``: a line, and a ramp or a step per kink."""
        if spread == 0:
            return plain(centre)
        total = grades[0] if slopes else values[0] + grades[0] * (centre - knots[0])
        for k, before, after in zip(knots, grades, grades[1:], strict=False):
            t = (centre - k) / spread
            ramp = tail(-t) if slopes else spread * (t * tail(-t) + density(t))
            total += (after - before) * ramp
        return total

    cuts = _joint_cuts([k / s1 for k in knots], [k / s2 / rho if rho else mp.inf for k in knots],
                       spread / s2)  # fmt: skip
    return mp.quad(lambda z: density(z) * plain(s1 * z) * mean(rho * s2 * z), cuts)


def _joint_cuts(knots, images, spread):
    """Where the outer integrand bends: at the knots, and about the images of the inner ones."""
    reach = mp.mpf(16)
    cuts = {mp.mpf(0), *(k + m * spread**2 for k in knots for m in (-4, -1, 0, 1, 4))}
    cuts |= {k + m * spread for k in images for m in (-12, -5, -2, 0, 2, 5, 12)}
    return [-reach, *sorted(z for z in cuts if abs(z) < reach), reach]


def relative(got, want, scale=0):
    """The error over ``want``, or over ``scale`` if that is larger; none below 1e-290, where
    double precision ends.
    """
    error, size = abs(mp.mpf(float(got)) - want), max(abs(want), abs(mp.mpf(scale)))
    if error <= mp.mpf("1e-290"):
        return mp.mpf(0)
    return error / size if size else mp.inf


def _pieces(phi: PiecewiseLinear, q: float):
    """(s, c, a, b) of each piece: phi = s x + c for x / sqrt(q) from a to b."""
    knots = exact_knots(phi)
    values = [mp.mpf(float(v)) for v in phi.values]
    ends = [-mp.inf, *(k / mp.sqrt(mp.mpf(q)) for k in knots), mp.inf]
    for i, slope in enumerate(phi.slopes):
        s, at = mp.mpf(float(slope)), max(i - 1, 0)
        yield s, values[at] - s * knots[at], ends[i], ends[i + 1]


def exact_knots(phi: PiecewiseLinear):
    """The knots that the values and slopes imply: tau + m in doubles is not tau + m."""
    knots = [mp.mpf(float(phi.knots[0]))]
    for i in range(1, len(phi.knots)):
        rise = mp.mpf(float(phi.values[i])) - mp.mpf(float(phi.values[i - 1]))
        s = mp.mpf(float(phi.slopes[i]))
        knots.append(mp.mpf(float(phi.knots[i])) if s == 0 else knots[-1] + rise / s)
    return knots


def _truncated(a, b, count):
    """int_a^b z^j density(z) dz for j < count: by parts, (j - 1) of j - 2 and the ends."""
    moments = [tail(a) - tail(b) if b > 0 else tail(-b) - tail(-a)]
    for j in range(1, count):
        below = (j - 1) * moments[j - 2] if j > 1 else 0
        moments.append(below + _edge(a, j - 1) - _edge(b, j - 1))
    return moments


def _edge(x, power):
    return 0 if mp.isinf(x) else x**power * density(x)
