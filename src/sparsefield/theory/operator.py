"""The chain of Q as a deterministic transfer operator: probabilities that no sample could see.

One layer maps Q to sigma_b2 + sigma_w2 S / n, S a sum of n independent phi(sqrt(Q) z)^2. The law
of one term is put on a lattice so that its first moments stay exact, and its n-fold convolution is
one power of its Fourier transform. That is done for a grid of Q; between grid points the law is
interpolated. Forwards in depth this gives the law of Q at every layer, backwards (Kolmogorov) the
probability that Q ever leaves an interval. An exponential tilt carries the Fourier transform's
digits into the tails, so that 1e-30 is resolved as well as 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import InvalidInput

from . import gaussian
from .maps import VarianceMap
from .quadrature import Array
from .ranges import check_count

Spectrum = NDArray[np.complex128]

FLOOR = 1e-9  # far above what the rounding of the Fourier transform makes of zero
_STEPS = 24.0  # lattice steps in one standard deviation of a layer's noise
_SPACING = 0.3  # grid points of Q lie this part of the noise apart
_WIDE = 1000  # beyond this width both are coarser: the noise is smooth, the table large
_FEW = 8.0  # active units below which the sum is no smooth density: a finer lattice
_STENCIL = 6  # points of the interpolation between grid points
_ROUNDING = 1e-15  # times sqrt(width): what the Fourier transform makes of zero
_STEEPEST = 600.0  # exponent of the steepest tilt
_TILTS = (0.0, -8.0, 8.0, 16.0, 24.0)  # in standard deviations: how far a tail is reached
_LARGEST = 2**25  # numbers in the table of laws: beyond it the draws are the better tool


@dataclass(frozen=True)
class _Lattice:
    """Values of Q' = base + step k for k < size; one unit's phi^2 takes ``per_unit`` steps."""

    base: float
    step: float
    size: int
    per_unit: int
    smooth: bool

    @cached_property
    def q(self) -> Array:
        return np.asarray(self.base + self.step * np.arange(self.size), dtype=float)


class TooLarge(InvalidInput):
    """The operator's table would not fit into memory."""


class TransferOperator:
    """The law of one layer's Q given the last one's, at finite width.

    Parameters
    ----------
    vmap
        the variance map, without skip (with one, Q alone is no Markov chain).
    q_star
        the scale of the grids, in units of q; usually the fixed point.
    width
        n, units of each layer.
    tails
        resolve probabilities below 1e-11 as well (five times the work).
    ceiling
        in units of q*; all that lies above it is one state.

    Raises
    ------
    InvalidInput
        a skip or a width below 1; :class:`TooLarge` if the table would not fit into memory.

    Ours; the chain is exact, the discretisation is tested against draws.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, q=1.0, clip=1.0).variance_map()
    >>> operator = TransferOperator(vmap, 1.0, width=300)
    >>> round(float(operator.mean(100)[-1]), 3)
    1.004
    """

    def __init__(
        self,
        vmap: VarianceMap,
        q_star: float,
        *,
        width: int,
        tails: bool = False,
        ceiling: float = 64.0,
    ) -> None:
        if vmap.skip != 0.0:
            raise InvalidInput(f"skip {vmap.skip:g}: the operator in Q alone holds for skip 0 only")
        check_count("width", width)
        if not 0.0 < q_star < math.inf:
            raise InvalidInput(f"q_star {q_star}: a variance must be positive and finite")
        self.q_star, self.width = q_star, int(width)
        self._lattice = _lattice(vmap, q_star, self.width, ceiling)
        self.grid = _grid(vmap, q_star, self.width, self._lattice)
        if self.grid.size * self._lattice.size > _LARGEST:
            raise TooLarge(
                f"width {width}: the operator would need a table of {self.grid.size} laws of "
                f"{self._lattice.size} values; simulate draws instead"
            )
        tilts = _TILTS if tails else _TILTS[:1]
        self._law = _laws(vmap, self.grid, self.width, self._lattice, tilts)
        self._nothing = 1e-250 if tails else 1e-20  # for zero where logarithms are interpolated

    @property
    def q(self) -> Array:
        """The values of Q on which laws are given, shape [size], ascending."""
        return self._lattice.q

    def mean(self, depth: int) -> Array:
        """E[Q] by layer, shape [depth]."""
        return self._moment(1, depth)

    def variance(self, depth: int) -> Array:
        """Var[Q] by layer, shape [depth]."""
        return np.asarray(np.maximum(self._moment(2, depth) - self._moment(1, depth) ** 2, 0.0))

    def escape(self, depth: int, low: float = 0.5, high: float = 2.0) -> Array:
        """P(Q leaves [low q*, high q*] at some layer up to l) for l = 1 to ``depth``; [depth].

        Without ``tails`` values below 1e-11 are rounding.
        """
        inside = self._inside(low * self.q_star, high * self.q_star)
        at_once = np.maximum(self._law @ (1.0 - inside), self._nothing)
        staying = self._law * inside
        now, chances = np.full(self.grid.size, self._nothing), [0.0]
        for _ in range(depth - 1):
            now = at_once + staying @ np.exp(self._weights.apply(np.log(now)))
            chances.append(float(np.exp(self._star_weights.apply(np.log(now))[0])))
        seen = np.clip(chances[:depth], 0.0, 1.0)
        return np.where(seen > 1e3 * depth * self._nothing, seen, 0.0)

    def _inside(self, low: float, high: float) -> Array:
        """The part of each lattice cell that lies in [low, high]."""
        if not self._lattice.smooth:
            return np.where((self.q >= low) & (self.q <= high), 1.0, 0.0)
        first, last = ((end - self._lattice.base) / self._lattice.step for end in (low, high))
        k = np.arange(self.q.size)
        return np.asarray(np.clip(k + 0.5 - first, 0.0, 1.0) * np.clip(last + 0.5 - k, 0.0, 1.0))

    def _moment(self, power: int, depth: int) -> Array:
        """E[Q^power] by layer, seen from q*: one application of the operator a layer."""
        values, moments = self.grid**power, [self.q_star**power]
        at_next = self._law @ self.q**power
        for _ in range(depth - 1):
            values, at_next = at_next, self._step @ at_next
            moments.append(float(self._at_star @ values))
        return np.array(moments[:depth])

    @cached_property
    def _weights(self) -> _Interpolation:
        return _Interpolation(np.log(self.grid), np.log(np.maximum(self.q, self.grid[0])))

    @cached_property
    def _star_weights(self) -> _Interpolation:
        return _Interpolation(np.log(self.grid), np.log([self.q_star]))

    @cached_property
    def _at_star(self) -> Array:
        return np.asarray(self._star_weights.dense()[0])

    @cached_property
    def _step(self) -> Array:
        """The operator from grid to grid, [grid, grid]."""
        return np.asarray(self._law @ self._weights.dense())


def escape_probability(
    vmap: VarianceMap,
    q_star: float,
    *,
    width: int,
    depth: int,
    low: float = 0.5,
    high: float = 2.0,
) -> float:
    """P(Q leaves [low q*, high q*] at some layer), by the operator; see :class:`TransferOperator`.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, q=1.0, clip=0.5).variance_map()
    >>> escape_probability(vmap, 1.0, width=300, depth=100) < 1e-10
    True
    """
    for tails in (False, True):
        operator = TransferOperator(vmap, q_star, width=width, tails=tails, ceiling=2.0 * high)
        chance = float(operator.escape(depth, low, high)[-1])
        if chance > FLOOR:
            break
    return chance


def _noise(vmap: VarianceMap, q: float, width: int) -> float:
    """Standard deviation of Q one layer after ``q``."""
    second = float(gaussian.second_moment(vmap.phi, q))
    fourth = float(gaussian.fourth_moment(vmap.phi, q))
    return float(vmap.sigma_w2) * math.sqrt(max(fourth - second**2, 0.0) / width)


def _coarseness(width: int) -> float:
    return min(max(math.sqrt(width / _WIDE), 1.0), 4.0)


def _lattice(vmap: VarianceMap, q_star: float, width: int, ceiling: float) -> _Lattice:
    sigma_w2, base = float(vmap.sigma_w2), float(vmap.sigma_b2)
    active = width * (1.0 - float(vmap.sparsity(q_star)))
    largest = vmap.phi.growth[2] ** 2 if vmap.phi.bounded else math.inf
    top = min(sigma_w2 * largest, ceiling * q_star)
    step = _noise(vmap, q_star, width) * _coarseness(width) / _STEPS
    unit = sigma_w2 * min(largest, top * width / sigma_w2) / width  # one unit's largest share
    if active < _FEW:
        step = min(step, unit / 256.0)
    per_unit = math.ceil(unit / step)
    if per_unit >= _STENCIL // 2:
        per_unit = max(per_unit, _STENCIL)
        step = unit / per_unit  # the clip lies on the lattice
    size = math.ceil(top / step * (1.0 - 1e-12)) + 1
    return _Lattice(base, step, size, per_unit, active >= _FEW)


def _grid(vmap: VarianceMap, q_star: float, width: int, lattice: _Lattice) -> Array:
    """Values of Q, even in log Q, dense enough for the noise around q*."""
    low, high = max(lattice.base, 1e-3 * q_star), float(lattice.q[-1])
    near = q_star * np.geomspace(0.5, 2.0, 7)
    near = near[(near >= low) & (near <= high)]
    scale = min(
        _noise(vmap, q, width) / (q * max(float(vmap.slope(q)), _SPACING)) for q in near.tolist()
    )
    widest = 0.5 if lattice.smooth else 0.1  # with few active units log-chances have sharp knees
    spacing = _SPACING * math.sqrt(_coarseness(width)) * min(scale, widest)
    count = math.ceil(math.log(high / low) / spacing)
    return np.geomspace(low, high, max(count, 2 * _STENCIL))


def _laws(
    vmap: VarianceMap, grid: Array, width: int, lattice: _Lattice, tilts: tuple[float, ...]
) -> Array:
    """P(Q' is lattice point k | Q), shape [grid, size].

    Each tilt is an exponential change of measure exp(theta S): it moves the bulk, where the Fourier
    transform has its digits, out into a tail. Every point takes the tilt that reaches it best.
    """
    transform = _by_lattice if lattice.per_unit >= _STENCIL else _by_nodes
    spread = np.maximum([_noise(vmap, q, width) for q in grid.tolist()], 1e-300) / lattice.step
    best = np.full((grid.size, lattice.size), np.inf)
    law = np.zeros_like(best)
    for tilt in tilts:
        mass, spectrum, length = transform(vmap, grid, width, lattice, tilt / spread)
        log_scale = width * np.log(mass)[:, None] - np.outer(tilt / spread, np.arange(lattice.size))
        better = log_scale < best
        best[better] = log_scale[better]
        law[better] = _inverse(spectrum, length, width, log_scale)[better]
    if lattice.size < width * lattice.per_unit:
        above = 1.0 - law.sum(axis=1)
        law[:, -1] += np.where(above > 1e-9, above, 0.0)  # less is rounding
    return law


def _inverse(spectrum: Spectrum, length: int, width: int, log_scale: Array) -> Array:
    """The law whose tilted unit has this transform, without what rounding makes of zero."""
    with np.errstate(divide="ignore", under="ignore", invalid="ignore"):
        power = np.where(spectrum == 0.0, 0.0, np.exp(width * np.log(spectrum)))
        law = np.fft.irfft(power, length, axis=1)[:, : log_scale.shape[1]]
        kept = np.where(law > _ROUNDING * math.sqrt(width), law, 0.0)
        return np.asarray(kept * np.exp(np.minimum(log_scale, 0.0)))


def _length(width: int, lattice: _Lattice) -> int:
    """Points of the Fourier transform: without wrapping round, or with nothing left to wrap."""
    return int(2 ** math.ceil(math.log2(min(width * lattice.per_unit + 1, 2 * lattice.size))))


def _by_lattice(
    vmap: VarianceMap, grid: Array, width: int, lattice: _Lattice, theta: Array
) -> tuple[Array, Spectrum, int]:
    """Mass and transform of one unit's law, tilted by exp(theta k), put on the lattice."""
    unit = _unit_law(vmap, grid, width, lattice)
    reach = theta[:, None] * np.arange(unit.shape[1])
    tilted = unit * np.exp(np.minimum(reach, _STEEPEST))
    mass, length = tilted.sum(axis=1), _length(width, lattice)
    mass[reach.max(axis=1) > _STEEPEST] = np.inf  # a tilt that leaves the range of doubles
    return mass, np.fft.rfft(tilted / tilted.sum(axis=1, keepdims=True), length, axis=1), length


def _by_nodes(
    vmap: VarianceMap, grid: Array, width: int, lattice: _Lattice, theta: Array
) -> tuple[Array, Spectrum, int]:
    """The same where one unit is lost in a lattice step: the transform of the quadrature nodes.

    Only low frequencies are left of so wide a sum; the others are zero.
    """
    length = _length(width, lattice)
    slowest = min(_noise(vmap, q, width) for q in (float(grid[0]), float(grid[-1])))
    count = min(math.ceil(20.0 * length * lattice.step / (2.0 * math.pi * slowest)), length // 2)
    omega = 2.0 * np.pi / length * np.arange(count)
    mass = np.asarray(vmap.sparsity(grid), dtype=float)
    total = np.repeat(mass[:, None].astype(complex), count, axis=1)
    first, second = np.zeros_like(mass), np.zeros_like(mass)
    for shares, weights in _units(vmap, grid, width, lattice):
        tilted = weights * np.exp(theta[:, None] * shares)
        first, second = first + (tilted * shares).sum(1), second + (tilted * shares**2).sum(1)
        for j in range(shares.shape[1]):
            total += tilted[:, j, None] * np.exp(-1j * shares[:, j, None] * omega)
    mass = total[:, 0].real.copy()
    spectrum = np.zeros((grid.size, length // 2 + 1), dtype=complex)
    spectrum[:, :count] = total / mass[:, None]
    spread = np.sqrt(width * np.maximum(second / mass - (first / mass) ** 2, 0.0))
    mass[2.0 * lattice.step * spread < slowest] = np.inf  # a tilt up against the clip: too narrow
    return mass, spectrum, length


def _units(
    vmap: VarianceMap, grid: Array, width: int, lattice: _Lattice
) -> Iterator[tuple[Array, Array]]:
    """Lattice steps sigma_w2 phi^2 / (n step) of one unit, with weights, [grid, nodes] a piece."""
    scale = float(vmap.sigma_w2) / (width * lattice.step)
    for piece in vmap.phi.half_pieces:
        if not piece.is_off:
            at = piece.nodes(np.sqrt(grid), 1 if lattice.smooth else 16)
            shares = np.broadcast_to(grid[:, None] * at.u**2 * scale, at.weight.shape)
            yield shares, piece.copies * at.weight


def _unit_law(vmap: VarianceMap, grid: Array, width: int, lattice: _Lattice) -> Array:
    """The law of one unit's share sigma_w2 phi^2 / n on the lattice, shape [grid, per_unit + 1]."""
    law = np.zeros((grid.size, lattice.per_unit + 1))
    for shares, weights in _units(vmap, grid, width, lattice):
        _deposit(law, shares, weights, 4 if lattice.smooth else 2)
    law[:, 0] += 1.0 - law.sum(axis=1)
    return law


def _deposit(law: Array, at: Array, weight: Array, points: int) -> None:
    """Spread each weight over the nearest lattice points; moments below ``points`` stay exact."""
    last = law.shape[1] - 1
    at = np.minimum(at, last)
    start, shares = _lagrange(at, last + 1, points)
    rows = np.arange(len(law))[:, None]
    for j in range(points):
        np.add.at(law, (rows, start + j), weight * shares[j])


def _lagrange(at: Array, size: int, points: int) -> tuple[NDArray[np.intp], list[Array]]:
    """First index and weights of the Lagrange interpolation at real index ``at``."""
    start = np.clip(np.floor(at).astype(np.intp) - (points // 2 - 1), 0, size - points)
    t = at - start
    shares = []
    for j in range(points):
        others = [k for k in range(points) if k != j]
        shares.append(np.prod([(t - k) / (j - k) for k in others], axis=0))
    return start, shares


class _Interpolation:
    """Lagrange interpolation from an even grid to fixed places, constant beyond its ends."""

    def __init__(self, grid: Array, places: Array) -> None:
        position = (np.asarray(places) - grid[0]) / (grid[-1] - grid[0]) * (grid.size - 1)
        self.size = grid.size
        self.start, self.shares = _lagrange(
            np.clip(position, 0.0, grid.size - 1.0), grid.size, _STENCIL
        )

    def apply(self, values: Array) -> Array:
        """The values at the places, within the range of those they are made from."""
        near = [values[self.start + j] for j in range(_STENCIL)]
        total = sum(share * value for share, value in zip(self.shares, near, strict=True))
        return np.asarray(np.clip(total, np.min(near, axis=0), np.max(near, axis=0)))

    def dense(self) -> Array:
        """The same as a matrix [places, grid]."""
        matrix = np.zeros((self.start.size, self.size))
        for j, share in enumerate(self.shares):
            matrix[np.arange(self.start.size), self.start + j] += share
        return matrix
