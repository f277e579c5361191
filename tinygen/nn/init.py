"""How weights start: arrays of float32, drawn from the generator that is given.

Layers take an initialiser (shape, (fan_in, fan_out), rng) → array; fan_in is the number of inputs that one output sums
over, fan_out the number of outputs that one input goes to.

Checked by: tests/nn/test_init.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..autograd import Array
from ..checks import check_rng

Shape: TypeAlias = tuple[int, ...]
Fans: TypeAlias = tuple[int, int]
Initialiser: TypeAlias = Callable[[Shape, Fans, np.random.Generator], Array]


def glorot_uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Draw from U(−a, a) with a = √(6 / (fan_in + fan_out)): keeps variances in tanh networks, forward and backward.

    Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    check_rng(rng)
    a = math.sqrt(6 / sum(fans))
    return rng.uniform(-a, a, shape).astype(np.float32)


def he_normal(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Draw from N(0, 2 / fan_in): keeps the variance through a network of relus.

    Source: He, Zhang, Ren & Sun, "Delving deep into rectifiers", 2015.
    """
    return normal(shape, math.sqrt(2 / fans[0]), rng)


def normal(shape: Shape, std: float, rng: np.random.Generator) -> Array:
    """Draw from N(0, std²)."""
    check_rng(rng)
    return (std * rng.standard_normal(shape)).astype(np.float32)


def centred(w: Array, rng: np.random.Generator) -> Array:
    """Biases b = −c w with a c ~ N(0, 1) for each unit, so that the plane where c w + b = 0 passes through some data.

    With b = 0 all kinks of a layer of relus would be at the origin: of one input, a network of them is two straight
    lines until the biases have moved.

    Shapes: w (n_in, n_out), b (n_out,).
    """
    return np.asarray(-(w * rng.standard_normal(w.shape)).sum(0), np.float32)


def zeros(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Draw nothing: all zeros, for a last layer that is to start from a known function."""
    return np.zeros(shape, np.float32)


def orthogonal(n: int, rng: np.random.Generator) -> Array:
    """Draw an (n, n) matrix uniformly (Haar) from the orthogonal ones: Q of a Gaussian's QR, its signs made unique.

    Source: Mezzadri, "How to generate random matrices from the classical compact groups", 2007.
    """
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return (q * np.sign(np.diag(r))).astype(np.float32)
