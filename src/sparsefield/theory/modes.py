"""How small deviations from a constant image decay through a CNN, by Fourier mode.

At infinitely many channels, with circular padding: averaging over the taps of a
:class:`.convolution.Convolution` damps every mode but the constant one [Xiao et al. 2018].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bivariate import derivative_covariance
from .convolution import Convolution, Size
from .maps import VarianceMap
from .quadrature import Array
from .spatial import check_single, with_skip


@dataclass(frozen=True)
class Modes:
    """Factors per layer on small deviations from a constant image, by Fourier mode, [H, W] each.

    Attributes
    ----------
    transfer
        A(k), the Fourier transform of the taps.
    variance
        skip + (1 - skip) V' A(k), on the variances q(p).
    covariance
        skip + (1 - skip) chi A(k), on covariances at a fixed displacement, or between two inputs.
    """

    transfer: Array
    variance: Array
    covariance: Array


def modes(vmap: VarianceMap, conv: Convolution, size: Size, q: float, rho: float = 1.0) -> Modes:
    """How fast each Fourier mode over the image decays, about variances q and correlations rho.

    chi = sigma_w2 E[phi'(x) phi'(y)] at correlation ``rho``, which is chi_1 at ``rho = 1``
    [Xiao et al. 2018, section 3]. Gaussian weights damp every mode but the constant one by
    A(k) < 1; delta-orthogonal weights have A(k) = 1 for all. Frequencies as ``numpy.fft.fftfreq``.

    Raises
    ------
    InvalidInput
        as :meth:`Convolution.transfer`, and for values out of range.

    >>> from sparsefield.theory import solve
    >>> from sparsefield.theory.maps import depth_scale
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> found = modes(vmap, Convolution(), (28, 28), 1.0)
    >>> round(float(depth_scale(found.covariance)[0, 1]), 1)  # one wave across the image
    59.3
    """
    check_single(vmap)
    transfer = conv.transfer(size)
    chi = vmap.sigma_w2 * derivative_covariance(vmap.phi, q, q, rho)
    slope = (vmap.slope(q) - vmap.skip) / (1.0 - vmap.skip)
    ones = np.ones_like(transfer)
    return Modes(
        transfer,
        with_skip(vmap, ones, slope * transfer),
        with_skip(vmap, ones, chi * transfer),
    )
