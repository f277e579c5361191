"""Rational-quadratic splines: their definition, inverse and derivatives; knots, ends, tails and extreme slopes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.flows import PerVariable, check_bijection
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor, TensorLike, add, broadcast_to, clip, grad, index, stack
from tinygen.bijections import MixtureCDF, RationalQuadraticSpline, Transformer
from tinygen.bijections.rational_quadratic import _forward, _fused, _inverse
from tinygen.testing import check_grads, check_invertible, check_log_det
from tinygen.testing.strategies import rngs

Pair = tuple[Tensor, Tensor]
DIRECTIONS = ("forward", "inverse")


def knots(spline: RationalQuadraticSpline, theta: Array) -> Array:
    """Return x, y and the slope of the knots (3, K + 1) for one row of parameters, from their definition."""
    size, least, bound = spline.bins, spline.minimum, spline.bound
    rows = []
    for logits in (theta[:size], theta[size : 2 * size]):
        share = np.exp(logits - logits.max())
        rows.append(np.cumsum([-bound, *2 * bound * (least + (1 - size * least) * share / share.sum())]))
    slopes = least + np.log1p(np.exp(theta[2 * size :] + np.log(np.exp(1 - least) - 1)))
    return np.array([*rows, [1, *slopes, 1]])


def reference(spline: RationalQuadraticSpline, x: float, theta: Array) -> tuple[float, float]:
    """Return z and dz/dx by equations 4 and 5 of the paper."""
    if abs(x) >= spline.bound:
        return x, 1.0
    xs, ys, ds = knots(spline, theta)
    k = max(i for i in range(spline.bins) if xs[i] <= x)
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    below = s + (ds[k + 1] + ds[k] - 2 * s) * xi * (1 - xi)
    z = ys[k] + (ys[k + 1] - ys[k]) * (s * xi**2 + ds[k] * xi * (1 - xi)) / below
    slope = s**2 * (ds[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + ds[k] * (1 - xi) ** 2) / below**2
    return float(z), float(slope)


def within_bins(spline: RationalQuadraticSpline, theta: Array, rng: np.random.Generator, row: int = 0) -> Array:
    """Return a point of each bin that is not near a knot, where finite differences fail, and one in each tail."""
    at = knots(spline, theta)[row]
    fraction = rng.uniform(0.3, 0.7, spline.bins)
    tails = spline.bound * np.array([-1.2, 1.5])
    return np.concatenate([at[:-1] + fraction * np.diff(at), tails])


@given(rng=rngs(), bins=st.integers(2, 9), scale=st.sampled_from([0.0, 0.5, 4.0]), bound=st.sampled_from([0.1, 5.0]))
def test_equals_its_definition(rng: np.random.Generator, bins: int, scale: float, bound: float) -> None:
    spline = RationalQuadraticSpline(bins, bound, 1e-2)
    theta = rng.normal(size=(20, spline.width)) * scale
    x = rng.uniform(-1.2, 1.2, 20) * bound
    z, log_slope = spline.forward(x, theta)
    expected, slopes = zip(*(reference(spline, *row) for row in zip(x, theta, strict=True)), strict=True)
    np.testing.assert_allclose(z.value, expected, rtol=1e-12, atol=1e-12 * bound)
    np.testing.assert_allclose(np.exp(log_slope.value), slopes, rtol=1e-9)  # ξ has an error of ε B / width
    back, inverse_log_slope = spline.inverse(z, theta)
    np.testing.assert_allclose(back.value, x, rtol=1e-9, atol=1e-11 * bound)
    np.testing.assert_allclose(np.exp(-inverse_log_slope.value), slopes, rtol=1e-8)


def test_equals_nothing_else(rng: np.random.Generator) -> None:
    """The reference distinguishes the slopes at the two ends of a bin, and the widths from the heights."""
    spline = RationalQuadraticSpline(3, 2.0)
    theta, x = rng.normal(size=spline.width), 0.3
    widths, heights, slopes = np.split(theta, [3, 6])
    for other in ([heights, widths, slopes], [widths, heights, slopes[::-1]]):
        assert abs(spline.forward(x, np.concatenate(other))[0].item() - reference(spline, x, theta)[0]) > 1e-3


def test_inverse_and_log_slope(rng: np.random.Generator) -> None:
    spline = RationalQuadraticSpline(4, 3.0)
    theta = rng.normal(size=(6, spline.width))
    x = np.stack([within_bins(spline, row, rng) for row in theta], -1)
    check_bijection(PerVariable(spline, theta), x, rng=rng)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradients(direction: str, rng: np.random.Generator) -> None:
    """Check first and second derivatives of both results, with parameters per variable."""
    spline = RationalQuadraticSpline(4, 6.0)
    theta = rng.normal(size=(3, spline.width)) * 0.5
    x = np.stack([within_bins(spline, row, rng, DIRECTIONS.index(direction)) for row in theta], -1)
    for part in (0, 1):
        check_grads(lambda x, t, i=part: getattr(spline, direction)(x, t)[i], x, theta, rng=rng, tolerance=1e-7)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("bins", [2, 3])
def test_gradients_at_identity(direction: str, bins: int, rng: np.random.Generator) -> None:
    """All slopes are 1, so that q = 0 in the middle of a bin: |q| has a kink there, and the root has none."""
    spline = RationalQuadraticSpline(bins, 6.0)
    middle = 6 * (np.arange(1, 2 * bins, 2) / bins - 1)
    both = lambda x, t: add(*getattr(spline, direction)(x, t))
    check_grads(both, middle, np.zeros(spline.width), rng=rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_start_is_identity(dtype: Any) -> None:
    spline = RationalQuadraticSpline(7, 3.0)
    x = np.linspace(-5, 5, 1001).astype(dtype)
    for direction in DIRECTIONS:
        y, log_slope = getattr(spline, direction)(x, spline.start().astype(dtype))
        assert y.dtype == log_slope.dtype == dtype
        np.testing.assert_allclose(y.value, x, rtol=0, atol=8 * np.finfo(dtype).eps)
        np.testing.assert_allclose(log_slope.value, 0, rtol=0, atol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_the_identity(direction: str, dtype: Any) -> None:
    """Also at ±B exactly, far outside, and in the gradient with respect to the parameters, which is 0, not NaN."""
    spline = RationalQuadraticSpline(4, 3.0)
    x = Tensor(np.array([-np.inf, -1e30, -3.0, 3.0, np.nextafter(dtype(3), dtype(4)), 1e30, np.inf], dtype))
    theta = Tensor(np.random.default_rng(0).normal(size=(7, spline.width)).astype(dtype))
    y, log_slope = getattr(spline, direction)(x, theta)
    np.testing.assert_array_equal(y.value, x.value)
    np.testing.assert_array_equal(log_slope.value, 0)
    for with_graph in (False, True):
        by_x, by_theta = grad(y + log_slope, [x, theta], np.ones(7, dtype), create_graph=with_graph)
        np.testing.assert_array_equal(by_x.value, 1)
        np.testing.assert_array_equal(by_theta.value, 0)


@given(rng=rngs(), dtype=st.sampled_from([np.float32, np.float64]), bins=st.integers(2, 12))
def test_is_continuous_at_knots_and_ends(rng: np.random.Generator, dtype: Any, bins: int) -> None:
    """At each knot and one number below and above it, z and the slope are those of the knot."""
    spline = RationalQuadraticSpline(bins, 4.0, 1e-2)
    theta = rng.normal(size=spline.width)
    exact = knots(spline, theta)
    at = exact[0].astype(dtype)
    eps = float(np.finfo(dtype).eps)
    for x in (at, np.nextafter(at, dtype(-9)), np.nextafter(at, dtype(9))):
        z, log_slope = spline.forward(x, theta.astype(dtype))
        slack = 4.0 * eps * (bins + 40 * exact[2].max())
        np.testing.assert_allclose(z.value, exact[1], rtol=0, atol=slack)
        # Near a knot, the log-slope changes by at most about 4 (d/s + s/d) per bin.
        width, height = np.diff(exact[:2]).min(1)
        change = 200 * eps * bins * (exact[2].max() * 8 / height + 8 / width / exact[2].min())
        np.testing.assert_allclose(log_slope.value, np.log(exact[2]), rtol=0, atol=change)


@pytest.mark.parametrize(
    "function", [partial(_fused, inverse=False), _forward, partial(_fused, inverse=True), _inverse]
)
def test_second_derivative_at_knot_is_from_the_right(function: Callable[[Tensor, Tensor], Pair]) -> None:
    knots = Tensor(np.array([[-1.0, 0.25, 1.0], [-1.0, 0.25, 1.0], [1.0, 3.0, 1.0]]))
    below, at, above = (Tensor(v) for v in (np.nextafter(0.25, -1), 0.25, np.nextafter(0.25, 1)))
    left, here, right = (grad(function(x, knots)[1], [x])[0].item() for x in (below, at, above))
    assert abs(here - right) < 1e-9 < abs(here - left)


@given(rng=rngs(), dtype=st.sampled_from([np.float32, np.float64]))
def test_increases_and_stays_in_interval(rng: np.random.Generator, dtype: Any) -> None:
    """For parameters so extreme that widths, heights and slopes are minimal or a hundred times the mean."""
    spline = RationalQuadraticSpline(6, 2.0)
    theta = (rng.normal(size=spline.width) * rng.choice([1, 10, 100])).astype(dtype)
    eps = np.finfo(dtype).eps
    x = np.sort(rng.uniform(-2, 2, 2000)).astype(dtype)
    for direction in DIRECTIONS:
        y, log_slope = getattr(spline, direction)(x, theta)
        assert np.all(np.isfinite(log_slope.value))
        assert np.all(np.abs(y.value) <= 2 + 2 * eps)
        assert np.all(np.diff(y.value) >= -8 * eps)


def exact_inverse(eta: float, slopes: tuple[float, float]) -> tuple[float, float]:
    """Return ξ and the log-slope of the inverse in a bin with s = 1, in 60 digits."""
    with localcontext(prec=60):
        t, d0, d1 = map(Decimal, (eta, *slopes))
        q = t * d1 - (1 - t) * d0
        xi = 2 * t / (2 * t - q + (q * q + 4 * t * (1 - t)).sqrt())
        rest = 1 - xi
        r = 1 + (d0 + d1 - 2) * xi * rest
        slope = (d1 * xi * xi + 2 * xi * rest + d0 * rest * rest) / r**2
        return float(xi), -float(slope.ln())


@pytest.mark.parametrize("slopes", list(product((1e-3, 1.0, 1e3, 1e9), repeat=2)))
def test_inverse_does_not_cancel(slopes: tuple[float, float]) -> None:
    """For any slopes, ξ and the slope have the rounding error of a relative change of η by a few ε.

    The form ξ = 2sη / (2sη − q + √(q² + 4s²η(1−η))) loses log₁₀(d₁/s) digits where q > 0.
    """
    knots = Tensor(np.array([[0.0, 1.0], [0.0, 1.0], slopes]))  # of one bin, without the tail below 0
    for eta in (1e-12, 1e-6, 1e-3, 0.1, 0.4, 0.5, 0.6, 0.9, 1 - 2.0**-10, 1 - 2.0**-40):
        expected = exact_inverse(eta, slopes)
        condition = 2 + eta * np.exp(expected[1]) / expected[0]  # d ln ξ / d ln η, large where the function is flat
        for x, log_slope in (_inverse(Tensor(eta), knots), _fused(eta, knots, inverse=True)):
            np.testing.assert_allclose(x.value, expected[0], rtol=1e-15 * condition)
            np.testing.assert_allclose(log_slope.value, expected[1], rtol=0, atol=1e-14 + 4e-15 * condition)


def test_the_form_without_p_loses_half_of_the_digits() -> None:
    eta, d0, d1 = 0.9, 1.0, 1e9
    q = eta * d1 - (1 - eta) * d0
    xi = 2 * eta / (2 * eta - q + np.sqrt(q**2 + 4 * eta * (1 - eta)))
    assert abs(xi / exact_inverse(eta, (d0, d1))[0] - 1) > 1e-8


@given(
    rng=rngs(),
    shape=st.sampled_from([(), (0,), (7,), (3, 2)]),
    scale=st.sampled_from([0.0, 1.0, 5.0]),
    inverse=st.booleans(),
    separate=st.booleans(),
)
def test_kernel_equals_its_definition(
    rng: np.random.Generator, shape: tuple[int, ...], scale: float, inverse: bool, separate: bool
) -> None:
    """Values and first derivatives, of which both results and all knots have a share."""
    spline = RationalQuadraticSpline(5, 2.0, 1e-2)
    theta = rng.normal(size=(*(shape if separate else ()), spline.width)) * scale
    x, knots = xs = Tensor(rng.uniform(-2.5, 2.5, shape)), spline._knots(theta)
    rows = broadcast_to(knots, (*shape, 3, 6))
    kernel, plain = stack(_fused(x, knots, inverse)), stack((_inverse if inverse else _forward)(x, rows))
    np.testing.assert_allclose(kernel.value, plain.value, rtol=1e-11, atol=1e-11)
    g = rng.normal(size=kernel.shape)
    expected = [t.value for t in grad(plain, xs, g)]
    for with_graph in (False, True):
        for ours, theirs in zip(grad(kernel, xs, g, create_graph=with_graph), expected, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours.value, theirs, rtol=0, atol=1e-9 * (1 + np.abs(theirs).max(initial=0)))


@given(rng=rngs(), shape=st.sampled_from([(), (0,), (3, 2)]), scale=st.sampled_from([0.0, 1.0, 30.0]))
def test_fused_knots_equal_their_definition(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> None:
    spline = RationalQuadraticSpline(5, 2.0, 1e-2)
    theta = Tensor(rng.normal(size=(*shape, spline.width)) * scale)
    fused, plain = spline._fused_knots(theta), spline._knots(theta)
    np.testing.assert_allclose(fused.value, plain.value, rtol=1e-13)
    g = rng.normal(size=fused.shape)
    (expected,) = grad(plain, [theta], g)
    for with_graph in (False, True):
        (ours,) = grad(fused, [theta], g, create_graph=with_graph)
        np.testing.assert_allclose(ours.value, expected.value, rtol=1e-12, atol=1e-13)


@given(rng=rngs(), scale=st.sampled_from([1.0, 5.0, 30.0]))
def test_round_trip_for_extreme_parameters(rng: np.random.Generator, scale: float) -> None:
    """Compare z, as x is ill-conditioned where the slope is small."""
    spline = RationalQuadraticSpline(8, 5.0)
    theta = rng.normal(size=spline.width) * scale
    z = rng.uniform(-6, 6, 100)
    x, log_slope = spline.inverse(z, theta)
    again, forward_log_slope = spline.forward(x, theta)
    slope = np.exp(forward_log_slope.value)
    np.testing.assert_array_less(np.abs(again.value - z), 1e-14 * (1 + 10 * slope.max()))
    assert np.all(np.isfinite(log_slope.value))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nan_passes_through(direction: str) -> None:
    spline = RationalQuadraticSpline(3, 1.0)
    theta = np.zeros((3, spline.width))
    theta[2] = np.nan
    y, log_slope = getattr(spline, direction)(np.array([0.1, np.nan, 0.1]), theta)
    np.testing.assert_array_equal(np.isnan(y.value), [False, True, True])
    np.testing.assert_array_equal(np.isnan(log_slope.value), [False, True, True])


def test_shared_parameters_equal_broadcast_ones(rng: np.random.Generator) -> None:
    spline = RationalQuadraticSpline(5, 3.0)
    for shape, of in (((4, 3), ()), ((4, 3), (3,)), ((4, 3), (4, 1)), ((), ()), ((0, 3), (3,))):
        x, theta = rng.normal(size=shape) * 2, rng.normal(size=(*of, spline.width))
        for direction in DIRECTIONS:
            shared = getattr(spline, direction)(x, theta)
            rows = getattr(spline, direction)(x, np.broadcast_to(theta, (*shape, spline.width)))
            for a, b in zip(shared, rows, strict=True):
                assert a.shape == shape
                np.testing.assert_array_equal(a.value, b.value)


def test_least_sizes_and_slopes() -> None:
    """Logits of ±1000 give bins of the least width and height, and the least slope."""
    spline = RationalQuadraticSpline(4, 2.0, 1e-2)
    theta = np.concatenate([[1e3, -1e3, -1e3, -1e3], [-1e3, -1e3, -1e3, 1e3], np.full(3, -1e3)])
    at = -2 + 4 * np.array([0.97, 0.98, 0.99])
    z, log_slope = spline.forward(at, theta)
    np.testing.assert_allclose(z.value, -2 + 4 * np.array([0.01, 0.02, 0.03]), rtol=1e-12)
    np.testing.assert_allclose(log_slope.value, np.log(1e-2), rtol=1e-9)


class Reversed(RationalQuadraticSpline):
    """Wrong: the inverse takes the slopes in the reverse order."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> Pair:
        slopes = index(parameters, (..., slice(-1, 2 * self.bins - 1, -1)))
        sizes = [index(parameters, (..., i)) for i in range(2 * self.bins)]
        return super().inverse(z, stack([*sizes, *(slopes[..., i] for i in range(self.bins - 1))], -1))


class SlopeOfWrongSide(RationalQuadraticSpline):
    """Wrong: the log-slope of the inverse is evaluated at z instead of at x."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> Pair:
        return super().inverse(z, parameters)[0], -super().forward(z, parameters)[1]


class ClippedTail(RationalQuadraticSpline):
    """Wrong: the inverse of the points outside the interval is clipped to it."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> Pair:
        return super().inverse(clip(z, -0.999 * self.bound, 0.999 * self.bound), parameters)


@pytest.mark.parametrize(
    ("wrong", "check", "message"),
    [
        (Reversed, check_invertible, r"inverse\(forward"),
        (SlopeOfWrongSide, check_log_det, "log_det of inverse"),
        (SlopeOfWrongSide, check_invertible, "add up to 0"),
        (ClippedTail, check_invertible, r"inverse\(forward"),
    ],
)
def test_wrong_splines_are_rejected(
    wrong: type[RationalQuadraticSpline], check: Any, message: str, rng: np.random.Generator
) -> None:
    spline = wrong(4, 3.0)
    theta = rng.normal(size=(3, spline.width))
    x = np.stack([within_bins(spline, row, rng) for row in theta], -1)
    with pytest.raises(AssertionError, match=message):
        check(PerVariable(spline, theta), x, rng=rng)


def test_rejects_invalid_arguments() -> None:
    for shape in ((7,), (8, 1), (3, 8), (2, 2, 8)):
        for direction in DIRECTIONS:
            with pytest.raises(ValueError, match="parameters: expected"):
                getattr(RationalQuadraticSpline(3), direction)(np.zeros(2), np.zeros(shape))
    wrong: dict[str, Any] = {"bins": 1, "bound": 0.0, "minimum": 0.5}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            RationalQuadraticSpline(**{"bins": 2, name: value})


def test_is_a_transformer() -> None:
    transformers: list[Transformer] = [RationalQuadraticSpline(), MixtureCDF(2)]
    assert [t.start().shape for t in transformers] == [(t.width,) for t in transformers]
