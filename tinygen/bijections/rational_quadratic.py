"""The rational-quadratic spline: an increasing function whose inverse has a closed form.

The interval [−B, B] is divided into K bins. In the bin between the knots (x₀, y₀) and (x₁, y₁) with the slopes d₀ and
d₁, and with w = x₁ − x₀, h = y₁ − y₀, s = h/w, ξ = (x − x₀)/w and r = s + (d₀ + d₁ − 2s) ξ(1−ξ),

    z     = y₀ + h (s ξ² + d₀ ξ(1−ξ)) / r
    dz/dx = s² (d₁ ξ² + 2s ξ(1−ξ) + d₀ (1−ξ)²) / r²

Outside the interval z = x. The slopes at −B and B are 1, so dz/dx is continuous.

For the inverse, η = (z − y₀)/h is known. The first equation is quadratic in ξ. With

    q = η d₁ − (1−η) d₀,   p = |q| + √(q² + 4s² η(1−η)),

its root in [0, 1] is ξ = 2sη / (2sη + p) where q < 0, and ξ = p / (p + 2s(1−η)) where q ≥ 0. All terms are positive, so
ξ is accurate for any slopes; so is 1 − ξ, whose numerator is the other term. docs/flows/spline_flows.md derives this.

Source: Durkan, Bekasov, Murray & Papamakarios, "Neural spline flows", 2019, section 3.1, with another form of the root.
Checked by: tests/bijections/test_rational_quadratic.py
"""

import math

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    broadcast_to,
    concatenate,
    cumsum,
    grad,
    index,
    log,
    node,
    reshape,
    softmax,
    softplus,
    sqrt,
    stack,
    take_along_axis,
    where,
)
from ..autograd.backward import independent
from ..autograd.grad_mode import is_grad_enabled
from ..autograd.operands import floating
from ..autograd.tensor import VJP, array_of
from ..checks import at_least, check_positive, require
from ..kernels.spline import offset_of_slopes, spline, spline_knots, spline_knots_vjp, spline_vjp
from ..recorded import Recorded
from .transformers import check_parameters


class RationalQuadraticSpline(Recorded):
    """An increasing rational-quadratic spline from [−bound, bound] to itself; the identity outside.

    The parameters θ are unconstrained: softmax and softplus map them to widths, heights and slopes. θ = 0 is the
    identity. At a knot, the second derivative is that from the right.

    Args:
        bins: number K of bins.
        bound: half the length B of the interval. It should contain almost all of the data and of the noise.
        minimum: the least width and height of a bin, as a fraction of the interval, and the least slope at a knot.

    Shapes: x, z, log_slope (…); parameters (…, 3K − 1), which broadcast to x: K for the widths of the bins, K for their
        heights, and K − 1 for the slopes between them.
    Raises: ValueError for parameters of the wrong shape.

    Example:
        >>> spline = RationalQuadraticSpline(bins=4, bound=3.0)
        >>> z, log_slope = spline.forward(np.array([-1.0, 7.0]), spline.start())  # the identity
        >>> z.value.round(9)
        array([-1.,  7.])
    """

    def __init__(self, bins: int = 8, bound: float = 5.0, minimum: float = 1e-3) -> None:
        at_least(2, bins=bins)
        check_positive(bound=bound, minimum=minimum)
        require(bins * minimum < 1, "minimum", f"a number below 1/bins = {1 / bins:.3g}", minimum)
        self.bins, self.bound, self.minimum, self.width = bins, float(bound), float(minimum), 3 * bins - 1

    def start(self) -> Array:
        return np.zeros(self.width)

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        check_parameters(x, parameters, self.width)
        return _fused(x, self._fused_knots(parameters), inverse=False)

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        check_parameters(z, parameters, self.width)
        return _fused(z, self._fused_knots(parameters), inverse=True)

    def _fused_knots(self, parameters: TensorLike) -> Tensor:
        """Return what `_knots` returns, with the value and the first derivative in one node."""
        theta = parameters if isinstance(parameters, Tensor) else Tensor(parameters)
        v = floating("parameters", theta)

        def vjp(g: Tensor, y: Tensor) -> Tensor:
            if not is_grad_enabled():
                return node("spline_knots_vjp", spline_knots_vjp(v, self.bound, self.minimum, g.value))
            return grad(self._knots(theta), [theta], g, create_graph=True)[0]

        return node("spline_knots", spline_knots(v, self.bound, self.minimum), (theta, vjp))

    def _knots(self, parameters: TensorLike) -> Tensor:
        """Return x, y and the slope of the K + 1 knots, (…, 3, K + 1)."""
        size, least = self.bins, self.minimum
        *shape, _ = array_of(parameters).shape
        logits = reshape(index(parameters, (..., slice(2 * size))), (*shape, 2, size))
        fractions = least + (1 - size * least) * softmax(logits, -1)
        inner = 2 * self.bound * cumsum(fractions[..., :-1], -1) - self.bound
        slopes = least + softplus(index(parameters, (..., slice(2 * size, None))) + offset_of_slopes(least))
        rows = concatenate([inner, reshape(slopes, (*shape, 1, size - 1))], -2)
        ends = np.array([[-self.bound, -self.bound, 1.0], [self.bound, self.bound, 1.0]], rows.dtype)
        low, high = (np.broadcast_to(end[:, None], (*shape, 3, 1)) for end in ends)
        return concatenate([low, rows, high], -1)


def _forward(x: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Return z and ln dz/dx."""
    outside, inner, (x0, y0, d0), (x1, y1, d1) = _bin(x, knots, 0)
    w, h = x1 - x0, y1 - y0
    s, xi, rest = h / w, (inner - x0) / w, (x1 - inner) / w
    z = y0 + h * xi * (s * xi + d0 * rest) / (s + (d0 + d1 - 2 * s) * xi * rest)
    return where(outside, x, z), where(outside, 0.0, _log_slope(xi, rest, s, d0, d1))


def _inverse(z: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and ln dx/dz."""
    outside, inner, (x0, y0, d0), (x1, y1, d1) = _bin(z, knots, 1)
    w, h = x1 - x0, y1 - y0
    s, eta = h / w, (inner - y0) / h
    q = eta * d1 - (1 - eta) * d0
    negative = q.value < 0
    # Not abs(q): its derivative at q = 0 is 0, but either form of the root is smooth there.
    p = where(negative, -q, q) + sqrt(q * q + 4 * s * s * eta * (1 - eta))
    part = 2 * s * where(negative, eta, 1 - eta)
    xi, rest = (where(negative, a, b) / (part + p) for a, b in ((part, p), (p, part)))
    return where(outside, z, x0 + w * xi), where(outside, 0.0, -_log_slope(xi, rest, s, d0, d1))


def _bin(x: Tensor, knots: Tensor, row: int) -> tuple[Array, Tensor, list[Tensor], list[Tensor]]:
    """Find the bin of each element of x among the knots' coordinates x (row 0) or y (row 1).

    Return where x is outside the interval, x with 0 in these places, and x, y and the slope of the two knots.
    """
    outside = np.abs(x.value) >= knots.value[..., 0, -1]  # false for NaN, which then passes through the spline
    inner = where(outside, 0.0, x)
    k = np.count_nonzero(inner.value[..., None] >= knots.value[..., row, 1:-1], axis=-1)
    k = np.broadcast_to(k[..., None, None], (*x.shape, 3, 1))
    low, high = (take_along_axis(knots, k + i, -1) for i in (0, 1))
    return outside, inner, [low[..., i, 0] for i in range(3)], [high[..., i, 0] for i in range(3)]


def _log_slope(xi: Tensor, rest: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Return ln dz/dx, where rest = 1 − ξ."""
    both = xi * rest
    r = 1 + (d0 / s + d1 / s - 2) * both  # divided by s
    return log((d1 * xi * xi + 2 * s * both + d0 * rest * rest) / (r * r))


def _fused(x: TensorLike, knots: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Return what `_forward` or `_inverse` returns. A kernel computes the values and the first derivatives."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    knots = knots if knots.shape[:-2] == x.shape else broadcast_to(knots, (*x.shape, *knots.shape[-2:]))
    size = math.prod(knots.shape[-2:])

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        if not is_grad_enabled():
            return node("spline_vjp", spline_vjp(x.value, knots.value, inverse, g.value))
        own = independent([x, knots])
        composed = stack((_inverse if inverse else _forward)(*own))
        by_x, by_knots = grad(composed, own, g, create_graph=True)
        return concatenate([reshape(by_x, (*x.shape, 1)), reshape(by_knots, (*x.shape, size))], -1)

    # One pass computes the cotangents of x and of the knots together, as the cotangent of an intermediate node whose
    # value is not used.
    y = spline(x.value, knots.value, inverse)
    unused = np.broadcast_to(np.zeros((), y.dtype), (*x.shape, 1 + size))
    of_knots: VJP = lambda g, y: reshape(g[..., 1:], knots.shape)
    both = node("spline_operands", unused, (x, lambda g, y: g[..., 0]), (knots, of_knots))
    result = node("spline", y, (both, vjp))
    return result[0], result[1]
