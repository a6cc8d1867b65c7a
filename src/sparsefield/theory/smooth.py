"""An activation from a Python function, smooth between kinks that its author declares.

Nothing is taken on trust. The line is cut at zero and at the kinks, every piece into panels on
which a polynomial holds phi to 1e-13 of its size (:mod:`sparsefield.theory.panels`), so a kink
that was not declared is an error that says where. Moments are Gauss-Legendre sums over the panels
that the Gaussian reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import panels
from .callables import Function, called, quietly, sorted_kinks
from .panels import End, Panels
from .quadrature import Array, Nodes, split_rule, tail_length
from .ranges import check_count

_UNIT = np.pi / 3.0  # panels double from here outwards: 1.05, 2.09, 4.19 ...; kinks are not there
_REACH = 16.0 * _UNIT  # phi is examined at once as far as this, or twice the outermost kink
_FAR = _UNIT * 2.0 ** np.arange(5, 41)  # where the tails are read
_STEEP = 1e-200  # width of the ramp that stands for a jump
_CLAIM = 1e-6  # what a declared derivative may differ by, of the largest slope nearby


class PiecewiseSmooth:
    """A function of one real variable that is smooth between its kinks.

    Everything that takes a :class:`PiecewiseLinear` takes one of these: moments, variance maps,
    fixed points, :func:`edge_of_chaos`.

    Parameters
    ----------
    function
        phi on float64 arrays of any shape, elementwise.
    kinks
        every x where phi or one of its derivatives jumps, in any order; zero need not be named.
        Kept as ``declared``; the attribute ``kinks`` holds those at which the slope changes.
    derivative
        phi' in the same form; without it the interpolants are differentiated, which costs two
        or three digits of the sixteen.
    parts
        number of panels where one would do; :meth:`error_of` compares with twice as many.

    Raises
    ------
    InvalidInput
        if phi is not smooth where no kink was declared (the error names the place), is no
        elementwise function of arrays in double precision, or is NaN or infinite somewhere; if
        ``derivative`` contradicts it. Out to abs(x) = 16 and twice the outermost kink this is
        found at once, beyond that as soon as a variance reaches there. A feature narrower than a
        hundredth of its distance from zero can fall between the samples: declare it.

    Notes
    -----
    A jump at a kink (or at zero) is the limit of a steep ramp: V, V' and V'' are exact, with the
    term k (phi(k+)^2 - phi(k-)^2) p(k / sqrt(q)) / (2 q^(3/2)) in d E[phi^2] / dq, and
    E[phi'^2], hence chi_1, is infinite.

    >>> from sparsefield.theory import gaussian
    >>> phi = PiecewiseSmooth(np.tanh)
    >>> round(float(gaussian.second_moment(phi, 1.0)), 12)
    0.394294490398
    >>> PiecewiseSmooth(lambda x: np.clip(x - 1.3, 0.0, 1.0))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    sparsefield.errors.InvalidInput: phi is not smooth between x = 1.29... and x = 1.30...: declare
    its kink there (kinks=...)
    """

    def __init__(
        self,
        function: Function,
        kinks: ArrayLike = (),
        derivative: Function | None = None,
        parts: int = 1,
    ) -> None:
        self.function = function
        self.declared = sorted_kinks(kinks)
        self.claim = derivative
        self.parts = parts
        check_count("parts", parts)
        self(np.array([[-1.0, -0.5, -0.25], [0.25, 0.5, 1.0]]))  # two axes: shapes are kept
        for piece in self._pieces:
            piece.examine()

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"PiecewiseSmooth({name}, kinks={self.declared})"

    def __call__(self, x: ArrayLike) -> Array:
        """phi(x), elementwise."""
        return called(self.function, "phi", np.asarray(x, dtype=float))

    def derivative(self, x: ArrayLike) -> Array:
        """phi'(x), elementwise; at a kink the slope to its right."""
        x = np.asarray(x, dtype=float)
        if not np.isfinite(x).all():
            raise InvalidInput("phi'(x) at an x that is NaN or infinite: x must be finite")
        out = np.zeros(x.shape)
        for piece in self._pieces:
            y = piece.side * x
            right = (y >= piece.low) & (y < piece.high)
            here = right if piece.side > 0.0 else (y > piece.low) & (y <= piece.high)
            out[here] = piece.slope(y[here])
        return out

    @property
    def batch(self) -> tuple[int, ...]:
        """Always (): one activation."""
        return ()

    @property
    def half_pieces(self) -> Sequence[SmoothPiece | Jump]:
        """Every smooth piece, cut at zero, then the jumps."""
        return [*self._pieces, *self.jumps]

    @cached_property
    def scales(self) -> Array:
        """Distances from zero of the kinks and of the panels on which phi bends, ascending."""
        found = [np.abs([k for k in self.declared if k != 0.0])]
        for piece in self._pieces:
            cut = piece.examine()
            found.append(cut.high[cut.curved])
        return np.unique(np.concatenate(found))

    @property
    def examined(self) -> float:
        """The abs(x) out to which phi is examined at once; farther out when a variance needs it."""
        return max([_REACH, *(2.0 * abs(k) for k in self.declared)])

    @cached_property
    def odd(self) -> bool:
        """Whether phi(-x) = -phi(x), on samples and to rounding."""
        x = np.concatenate([panels.FRESH * self.examined, np.abs(self.declared) + 1e-6])
        scale = panels.size(self, np.maximum(2.0 * x, _UNIT))
        return bool((np.abs(self(-x) + self(x)) <= 1e-14 * scale).all())

    @cached_property
    def kinks(self) -> list[tuple[float, float]]:
        """(position, change of slope) wherever phi' jumps; infinite where phi does."""
        found = []
        for x in sorted({0.0, *self.declared}):
            before, after = self._limit(x, -1.0), self._limit(x, 1.0)
            change = after.slope - before.slope
            if any(jump.x == x for jump in self.jumps):
                found.append((x, np.inf))
            elif abs(change) > 1e-8 * max(abs(before.slope), abs(after.slope)):
                found.append((x, change))
        return found

    @property
    def bounded(self) -> bool:
        """Whether both tails are constant (tanh is bounded, but not by this measure)."""
        return all(piece.is_flat for piece in self._pieces if piece.high == np.inf)

    @cached_property
    def growth(self) -> tuple[float, float, float]:
        """(left slope, right slope, c): abs(phi(x)) <= c + slope abs(x), read off far samples.

        Raises
        ------
        InvalidInput
            if phi grows faster than linearly.
        """
        (left, below), (right, above) = _tail(self, -1.0), _tail(self, 1.0)
        return left, right, max(below, above)

    @cached_property
    def jumps(self) -> tuple[Jump, ...]:
        """The points at which phi is not continuous."""
        found = [self._jump(x) for x in sorted({0.0, *self.declared})]
        return tuple(jump for jump in found if jump is not None)

    def error_of(
        self, moment: Callable[[PiecewiseSmooth, ArrayLike], Array], q: ArrayLike
    ) -> Array:
        """An estimate of the error of ``moment(self, q)``, absolute, in the moment's own unit.

        The change when every panel is cut in two, interpolants and all, and rounding.

        >>> from sparsefield.theory import gaussian
        >>> phi = PiecewiseSmooth(np.tanh)
        >>> bool(phi.error_of(gaussian.gain, 1.0) < 1e-12 * gaussian.gain(phi, 1.0))
        True
        """
        here, finer = np.asarray(moment(self, q)), np.asarray(moment(self._finer, q))
        with np.errstate(invalid="ignore"):  # inf - inf at a jump
            change = np.where(here == finer, 0.0, np.abs(here - finer))
        return change + 4.0 * np.finfo(float).eps * np.where(np.isfinite(finer), np.abs(finer), 0.0)

    @cached_property
    def _finer(self) -> PiecewiseSmooth:
        return PiecewiseSmooth(self.function, self.declared, self.claim, 2 * self.parts)

    @cached_property
    def _pieces(self) -> tuple[SmoothPiece, ...]:
        cuts = {
            side: [0.0, *(abs(k) for k in self.declared if k * side > 0.0)] for side in (-1.0, 1.0)
        }
        return tuple(
            SmoothPiece(self, side, low, high)
            for side, ends in cuts.items()
            for low, high in zip(sorted(ends), [*sorted(ends)[1:], np.inf], strict=True)
        )

    def _jump(self, x: float) -> Jump | None:
        """The jump at the cut ``x``, from the interpolants on either side of it."""
        before, after = self._limit(x, -1.0), self._limit(x, 1.0)
        scale = float(panels.size(self, 2.0 * abs(x) or _UNIT))
        rounding = 1e-10 * scale + 1e3 * (before.doubt + after.doubt)
        step = abs(after.value - before.value)
        return Jump(x, before.value, after.value) if step > rounding else None

    def _limit(self, x: float, towards: float) -> End:
        """phi and phi' at x + 0 for ``towards`` = 1, at x - 0 for -1."""
        side, outwards = (np.sign(x), towards * x > 0.0) if x != 0.0 else (towards, True)
        name, which = ("low", 0) if outwards else ("high", -1)
        piece = next(p for p in self._pieces if p.side == side and getattr(p, name) == abs(x))
        end = piece.examine().end(which)
        return end._replace(slope=side * end.slope)


@dataclass(frozen=True, eq=False)
class SmoothPiece:
    """phi from ``low`` to ``high``, distances from zero on one ``side`` of it."""

    phi: PiecewiseSmooth
    side: float
    low: float
    high: float
    copies: float = 1.0
    _shells: list[Panels] = field(default_factory=list, repr=False)

    @cached_property
    def level(self) -> float | None:
        """The constant that phi is here, or None."""
        end = min(self.high, max(_REACH, 2.0 * self.low))
        near = panels.FRESH_INSIDE if self.low > 0.0 else panels.FRESH
        far = _FAR if self.high == np.inf else _FAR[:0]
        y = np.concatenate([self.low + (end - self.low) * near, np.maximum(far, end)])
        found = quietly(self.phi.function, self.side * y)
        return float(found[0]) if (found == found[0]).all() else None

    @property
    def is_flat(self) -> bool:
        """Whether phi is constant here."""
        return self.level is not None

    @property
    def is_off(self) -> bool:
        """Whether phi is exactly zero here."""
        return self.level == 0.0

    def examine(self) -> Panels:
        """The panels out to where phi is examined at once."""
        return self.panels(self.phi.examined)

    def panels(self, reach: float) -> Panels:
        """The panels that begin below ``reach``, found when first needed."""
        while not self._shells or self._shells[-1].high[-1] < min(reach, self.high):
            low = float(self._shells[-1].high[-1]) if self._shells else self.low
            self._shells.append(self._shell(low))
        cut = self._shells[0]
        for shell in self._shells[1:]:
            cut = cut + shell if shell.low[0] < reach else cut
        return cut

    def _shell(self, low: float) -> Panels:
        """Panels from ``low`` to the next power of two of the unit."""
        power = np.floor(np.log2(low / _UNIT) + 1e-9) + 1.0 if low > 0.0 else 0.0
        high = min(self.high, _UNIT * 2.0 ** max(power, 0.0))
        cut = panels.cut(self.phi, self.side, low, high, self.phi.parts)
        if self.phi.claim is not None:
            _check_claim(self.phi, self.phi.claim, self.side, cut)
        return cut

    def slope(self, y: Array) -> Array:
        """phi'(side y) for ``y`` ``[n]`` on this piece."""
        if self.is_flat or not y.size:
            return np.zeros(y.shape)
        if self.phi.claim is not None:
            return called(self.phi.claim, "derivative", self.side * y)
        return self.side * self.panels(float(y.max())).derivative_at(y)

    def nodes(self, root_q: Array, panels: int = 1) -> Nodes:
        """Quadrature nodes of this piece under N(0, q), arrays [..., N]."""
        inner = self.low / root_q
        limit = inner + tail_length(inner)
        cut = self._cut(float(np.max(root_q * limit)))
        root = np.asarray(root_q)[..., None]
        a = cut.low / root
        length = np.clip(limit[..., None] - a, 0.0, cut.width / root)[..., None]
        at, weights = split_rule(panels)
        t, a = length * at, a[..., None]
        with np.errstate(under="ignore", over="ignore"):
            height = np.exp(-0.5 * a * a) / np.sqrt(2.0 * np.pi)
            weight = height * (length * weights * np.exp(-t * (a + 0.5 * t)))
        # a panel out of reach is read in its middle, not at its end: phi may be undefined there
        run = np.where(length > 0.0, root[..., None] * t, np.minimum(cut.width, 1.0)[:, None] / 2.0)
        u, g = self._values(cut, run)
        rows = (*root.shape[:-1], -1)
        return Nodes(
            *(x.reshape(rows) for x in (weight, self.side * (a + t), u / root[..., None], g))
        )

    def _cut(self, reach: float) -> Panels:
        if not self.is_flat:
            return self.panels(reach)
        # constant: one panel, as long as the Gaussian
        one = self._shells[0][np.array([0])]
        return replace(one, low=np.array([self.low]), high=np.array([self.high]))

    def _values(self, cut: Panels, run: Array) -> tuple[Array, Array]:
        """phi and phi' at distances ``run`` ``[..., P, N]`` from the panels' inner ends."""
        if self.level is not None:
            return np.full_like(run, self.level), np.zeros_like(run)
        x = self.side * (cut.low[:, None] + run)
        if self.phi.claim is not None:
            return self.phi(x), called(self.phi.claim, "derivative", x)
        t = 2.0 * run / cut.width[:, None] - 1.0
        return self.phi(x), self.side * cut.derivative(t)


@dataclass(frozen=True)
class Jump:
    """phi steps from ``before`` to ``after`` at ``x``: a ramp of vanishing width.

    A ramp of width e carries the mass e p / sqrt(q) and the slope (after - before) / e: in
    E[phi^2] it vanishes, in E[x phi phi'] it leaves x (after^2 - before^2) p / (2 sqrt(q)), and
    E[phi'^2] it makes infinite.
    """

    x: float
    before: float
    after: float
    copies: float = 1.0
    is_flat: bool = False
    is_off: bool = False

    def nodes(self, root_q: Array, panels: int = 1) -> Nodes:
        """One node: the middle of the ramp."""
        root_q = np.asarray(root_q)[..., None]
        z = self.x / root_q
        density = np.maximum(np.exp(-0.5 * np.minimum(z * z, 1e3)), 1e-60)  # inf * 0 is no number
        weight = _STEEP * density / np.sqrt(2.0 * np.pi) / root_q
        u = (self.before + self.after) / 2.0 / root_q
        return Nodes(weight, z, u, np.full_like(z, (self.after - self.before) / _STEEP))


def _check_claim(phi: PiecewiseSmooth, claim: Function, side: float, cut: Panels) -> None:
    """The declared derivative against that of the interpolants."""
    t = np.tile(np.linspace(-0.9, 0.93, 17), (cut.low.size, 1))
    x = side * (cut.low[:, None] + cut.width[:, None] * (t + 1.0) / 2.0)
    claimed, found = called(claim, "derivative", x), side * cut.derivative(t)
    rounding = (1e-9 * panels.size(phi, cut.high) / cut.width)[:, None]
    gap = np.abs(claimed - found) - rounding - _CLAIM * np.abs(found).max()
    if (gap > 0.0).any():
        at = np.unravel_index(gap.argmax(), gap.shape)
        raise InvalidInput(
            f"derivative({x[at]:.6g}) = {claimed[at]:.6g}, but phi rises at {found[at]:.6g} there: "
            "they must agree; correct it, or leave it out and phi is differentiated for you"
        )


def _tail(phi: PiecewiseSmooth, side: float) -> tuple[float, float]:
    """(slope, c) of one tail, abs(phi) <= c + slope abs(x), from its finite samples."""
    near = np.linspace(0.0, phi.examined, 4001)[1:]
    y = np.concatenate([near, _FAR[near[-1] < _FAR]])
    height = np.abs(quietly(phi.function, side * y).astype(float))
    finite = int(np.argmin(np.isfinite(height))) if not np.isfinite(height).all() else len(height)
    y, height = y[:finite], height[:finite]
    rise = np.diff(height[-3:]) / np.diff(y[-3:])
    if rise[1] > 1.02 * max(rise[0], 0.0) + 1e-9 * height.max() / y[-1]:
        raise InvalidInput(
            f"abs(phi) rises at {rise[1]:.3g} per unit near x = {side * y[-1]:.3g}, faster and "
            "faster: fixed points can be listed only for linear growth; bend phi down far out"
        )
    slope = max(float(rise[1]), 0.0)
    return slope, float(1.01 * np.maximum(height - slope * y, 0.0).max())
