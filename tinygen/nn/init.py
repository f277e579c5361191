"""Weight initialisers: float32 arrays, drawn with an explicit generator.

An initialiser is a function (shape, (fan_in, fan_out), rng) → array. fan_in is the number of inputs that an output sums
over, fan_out is the number of outputs that an input contributes to. That of `Conv` is counted as without a stride:
with equal fans, `glorot_uniform` then keeps the variance of the activations, and a stride s divides that of the
gradients by s along each axis.

Checked by: tests/nn/test_init.py
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Parameter
from ..checks import as_reals, at_least, check_counts, require
from ..recorded import register

Shape: TypeAlias = tuple[int, ...]
Fans: TypeAlias = tuple[int, int]
Initialiser: TypeAlias = Callable[[Shape, Fans, np.random.Generator], Array]


@explained
def initialised(init: Initialiser, shape: Shape, fans: Fans, rng: np.random.Generator) -> Parameter:
    """Return a new parameter. Raises ValueError unless `init` returns an array of this shape."""
    w: Any = init(shape, fans, rng)
    got = f"shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
    require(isinstance(w, np.ndarray) and w.shape == shape, "init", f"a function that returns shape {shape}", got)
    return Parameter(w)


@register
@explained
def glorot_uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Draw from U(−a, a), a = √(6 / (fan_in + fan_out)), which preserves the variance of activations and gradients.

    Derived for activations that are linear near 0, such as tanh.

    Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    check_counts("shape", shape)
    check_counts("fans", fans)
    a = math.sqrt(6 / sum(fans))
    return rng.uniform(-a, a, shape).astype(np.float32)


@register
@explained
def he_normal(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Draw from N(0, 2 / fan_in), which preserves the variance of activations through relu layers.

    Source: He, Zhang, Ren & Sun, "Delving deep into rectifiers", 2015.
    """
    check_counts("fans", fans)
    return normal(shape, math.sqrt(2 / fans[0]), rng)


@checked
def normal(shape: Shape, std: float, rng: np.random.Generator) -> Array:
    """Draw from N(0, std²)."""
    check_counts("shape", shape)
    return (std * rng.standard_normal(shape)).astype(np.float32)


@register
@explained
def zeros(shape: Shape, fans: Fans, rng: np.random.Generator) -> Array:
    """Return zeros, for example for the last layer of a residual branch."""
    check_counts("shape", shape)
    return np.zeros(shape, np.float32)


@explained
def orthogonal(n: int, rng: np.random.Generator) -> Array:
    """Draw an (n, n) orthogonal matrix from the uniform (Haar) distribution.

    It is the factor Q in the QR decomposition of a Gaussian matrix, with signs such that R has a positive diagonal.

    Source: Mezzadri, "How to generate random matrices from the classical compact groups", 2007.
    """
    at_least(1, n=n)
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


@explained
def hyperplane_bias(w: Array, rng: np.random.Generator) -> Array:
    """Return biases b = −c w, with a random point c ~ N(0, I) for each unit; its hyperplane x w + b = 0 contains c.

    This spreads the hyperplanes over standardised data. With b = 0, all hyperplanes would contain the origin, and a
    relu network with a single input would start with only two linear pieces.

    Shapes: w (n_in, n_out), b (n_out,). Raises ValueError unless w is real.
    """
    return np.asarray(-(as_reals("w", w) * rng.standard_normal(w.shape)).sum(0), np.float32)
