"""Smooth activations by name, each with its twin in arbitrary precision."""

import mpmath as mp
import numpy as np
from scipy.special import erf, ndtr


def mp_phi(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


SMOOTH = {
    "tanh": (np.tanh, mp.tanh),
    "erf": (erf, mp.erf),
    "gelu": (lambda x: x * ndtr(x), lambda x: x * mp_phi(x)),
    "silu": (lambda x: x / (1.0 + np.exp(-x)), lambda x: x / (1 + mp.exp(-x))),
    "softplus": (lambda x: np.logaddexp(0.0, x), lambda x: mp.log1p(mp.exp(x))),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: x if x > 0 else mp.expm1(x)),
}
