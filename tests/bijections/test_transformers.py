"""Transformers: inverses, derivatives and log-slopes; tails of the mixture's CDF; bounds on the scales."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.flows import PerVariable, check_bijection
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor, grad, no_grad
from tinygen.bijections import AffineTransformer, MixtureCDF, RationalQuadraticSpline
from tinygen.testing import check_grads
from tinygen.testing.strategies import rngs

NOISES = ("uniform", "normal")
unbounded = partial(MixtureCDF, bound=None)


def random_mixture(rng: np.random.Generator, *shape: int, components: int = 3) -> np.ndarray:
    return rng.normal(size=(*shape, 3 * components)) * 0.4


@given(rng=rngs(), noise=st.sampled_from(NOISES), components=st.integers(2, 4))
def test_inverse_and_log_slope(rng: np.random.Generator, noise: str, components: int) -> None:
    theta = random_mixture(rng, 2, components=components)
    x = unbounded(components, "uniform").inverse(rng.uniform(0.1, 0.9, (3, 2)), theta)[0].value
    check_bijection(PerVariable(unbounded(components, noise), theta), x, rng=rng)


@pytest.mark.parametrize("noise", NOISES)
def test_gradients(noise: str, rng: np.random.Generator) -> None:
    """Check first and second derivatives; those of the inverse use the implicit function theorem."""
    transformer, theta = unbounded(2, noise), random_mixture(rng, 3, components=2)
    for direction in ("forward", "inverse"):
        x = rng.uniform(0.3, 0.7, (2, 3))
        for part in (0, 1):
            check_grads(
                lambda x, t, d=direction, i=part: getattr(transformer, d)(x, t)[i], x, theta, rng=rng, tolerance=1e-7
            )


def test_single_component_is_logistic_cdf(rng: np.random.Generator) -> None:
    x, theta = rng.normal(size=(5,)) * 3, np.array([0.7, 0.5, math.log(2)])
    a = (x - 0.5) / 2
    u, log_slope = unbounded(1, "uniform").forward(x, theta)
    np.testing.assert_allclose(u.value, 1 / (1 + np.exp(-a)), rtol=1e-13)
    np.testing.assert_allclose(np.exp(log_slope.value), u.value * (1 - u.value) / 2, rtol=1e-12)


def test_normal_noise_does_not_saturate(rng: np.random.Generator) -> None:
    """A hundred scales from the mean, where u rounds to 0 or 1, z is finite, increasing and invertible."""
    transformer, theta = unbounded(3, "normal"), random_mixture(rng)
    x = np.array([-1e4, -200, -100, -40, 40, 100, 200, 1e4])
    z, log_slope = transformer.forward(x, theta)
    assert np.all(np.isfinite(log_slope.value))
    assert np.all(np.diff(z.value) > 0)
    np.testing.assert_allclose(transformer.inverse(z, theta)[0].value, x, rtol=1e-12)


@given(rng=rngs(), dtype=st.sampled_from([np.float32, np.float64]))
def test_uniform_noise_stays_in_unit_interval(rng: np.random.Generator, dtype: Any) -> None:
    """If the weights summed to slightly more than 1, u could exceed 1, where the base density is 0."""
    transformer, theta = unbounded(5, "uniform"), rng.normal(size=15).astype(dtype)
    x = np.concatenate([np.linspace(-9, 9, 400), [-1e4, 1e4]]).astype(dtype)
    u = transformer.forward(x, theta)[0].value
    assert np.all((u >= 0) & (u <= 1))
    assert np.all(np.isfinite(transformer.inverse(u, theta)[0].value))


def test_normal_noise_is_normal_quantile_of_uniform_noise() -> None:
    theta, x = random_mixture(np.random.default_rng(3)), np.linspace(-6, 6, 25)
    u, uniform_slope = unbounded(3, "uniform").forward(x, theta)
    z, normal_slope = unbounded(3, "normal").forward(x, theta)
    np.testing.assert_allclose([(1 + math.erf(v / math.sqrt(2))) / 2 for v in z.value], u.value, rtol=1e-11)
    log_density = -0.5 * z.value**2 - 0.5 * math.log(2 * math.pi)  # ln du/dz
    np.testing.assert_allclose(normal_slope.value, uniform_slope.value - log_density, atol=1e-11)


@given(rng=rngs())
def test_inverse_of_ill_conditioned_mixture(rng: np.random.Generator) -> None:
    """Scales from e⁻⁸ to e⁸, weights down to e⁻⁴⁰, distant means. Compare z, since x is not unique where F is flat."""
    theta = np.concatenate([rng.uniform(-40, 0, 4), rng.uniform(-100, 100, 4), rng.uniform(-8, 8, 4)])
    transformer = unbounded(4, "normal")
    z = rng.normal(size=50) * 3
    x, log_slope = transformer.inverse(z, theta)
    z_again, forward_slope = transformer.forward(x, theta)
    # A rounding error of x changes z by the slope times that error.
    bound = 1e-12 + 4e-16 * np.abs(x.value) * np.exp(forward_slope.value)
    np.testing.assert_array_less(np.abs(z_again.value - z), bound)
    np.testing.assert_array_equal(log_slope.value, -forward_slope.value)


def test_float32_round_trip(rng: np.random.Generator) -> None:
    theta, z = random_mixture(rng).astype(np.float32), rng.normal(size=100).astype(np.float32)
    transformer = unbounded(3, "normal")
    x, log_slope = transformer.inverse(z, theta)
    assert x.dtype == log_slope.dtype == np.float32
    np.testing.assert_allclose(transformer.forward(x, theta)[0].value, z, atol=1e-5)


def test_quantile_equals_inverse(rng: np.random.Generator) -> None:
    transformer, theta, z = unbounded(3, "normal"), random_mixture(rng), rng.normal(size=(4, 2))
    np.testing.assert_array_equal(transformer.quantile(z, theta).value, transformer.inverse(z, theta)[0].value)


def test_uniform_noise_of_zero_and_one_has_finite_inverse() -> None:
    """`rng.random()` can return 0, and its result can round to 1 in float32."""
    for dtype in (np.float32, np.float64):
        x, log_slope = unbounded(1, "uniform").inverse(np.array([0, 1], dtype), np.zeros(3, dtype))
        np.testing.assert_allclose(x.value, np.log(np.finfo(dtype).eps / np.array([4, 2])) * [1, -1], rtol=1e-6)
        assert np.all(np.isfinite(log_slope.value))


@pytest.mark.parametrize("noise", NOISES)
def test_parameters_per_example(noise: str, rng: np.random.Generator) -> None:
    """Parameters of shape (N, D, 3K), as computed by a network."""
    transformer, theta = unbounded(3, noise), random_mixture(rng, 4, 2)
    x = rng.normal(size=(4, 2))
    z, log_slope = transformer.forward(x, theta)
    for i, j in np.ndindex(4, 2):
        single, slope = transformer.forward(x[i, j], theta[i, j])
        np.testing.assert_allclose([single.item(), slope.item()], [z.value[i, j], log_slope.value[i, j]], rtol=1e-12)
    with no_grad():
        np.testing.assert_allclose(transformer.inverse(z, theta)[0].value, x, atol=1e-9)


def test_gradient_of_inverse_for_single_component() -> None:
    """dx/dμ = 1 and dx/d ln s = x − μ."""
    theta = Tensor(np.array([0.0, 0.5, 0.3]))
    x, _ = unbounded(1, "normal").inverse(np.array([1.3]), theta)
    (slope,) = grad(x.sum(), [theta])
    np.testing.assert_allclose(slope.value, [0, 1, x.item() - 0.5], atol=1e-12)


def test_rejects_invalid_arguments() -> None:
    transformer = unbounded(2)
    for shape in ((5,), (6, 1), (3, 6), (2, 2, 6)):
        for direction in ("forward", "inverse"):
            with pytest.raises(ValueError, match="parameters: expected"):
                getattr(transformer, direction)(np.zeros(2), np.zeros(shape))
    for z in (np.nan, np.inf):
        with pytest.raises(ValueError, match="z: expected numbers"):
            transformer.inverse(np.array([0.0, z]), np.zeros(6))
    with pytest.raises(ValueError, match=r"z: expected numbers in \[0, 1\], got -0\.1…0\.5"):
        unbounded(2, "uniform").inverse(np.array([-0.1, 0.5]), np.zeros(6))
    for bad in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="diverged"):
            transformer.inverse(np.zeros(2), np.array([0, 0, bad, 0, 0, 0]))
    wrong: dict[str, Any] = {"components": 0, "noise": "logit", "bound": 0.0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            MixtureCDF(**{"components": 2, name: value})
    with pytest.raises(ValueError, match="bound: expected a positive number, got 0"):
        AffineTransformer(0.0)


def test_inverse_of_integers() -> None:
    transformer, parameters = unbounded(2), np.zeros(6)
    x, log_slope = transformer.inverse(np.array([0, 1]), parameters)
    expected = transformer.inverse(np.array([0.0, 1.0]), parameters)
    np.testing.assert_array_equal(x.value, expected[0].value)
    np.testing.assert_array_equal(log_slope.value, expected[1].value)


def test_log_scales_are_bounded() -> None:
    """The bound has no effect near 0."""
    _, log_slope = AffineTransformer(3.0).forward(np.zeros(3), np.array([[1e4, 0.0], [-1e4, 0.0], [1e-3, 0.0]]))
    np.testing.assert_allclose(log_slope.value, [3, -3, 1e-3], rtol=1e-6)
    parameters = np.array([[0.0, 0.0, 1e4], [0.0, 0.0, -1e4], [0.0, 0.0, 1e-3]])
    _, log_slope = MixtureCDF(1, "uniform", bound=3.0).forward(np.zeros(3), parameters)
    np.testing.assert_allclose(log_slope.value + math.log(4), [-3, 3, -1e-3], rtol=1e-6)  # ln σ′(0) = −ln 4


@pytest.mark.parametrize("transformer", [AffineTransformer(1.0), MixtureCDF(2, bound=1.0)])
def test_both_directions_have_the_same_bound(transformer: Any, rng: np.random.Generator) -> None:
    """The log-scales are far beyond the bound on both sides."""
    x, theta = rng.normal(size=20), 5 * rng.normal(size=(20, transformer.width))
    z, log_slope = transformer.forward(x, theta)
    back, inverse_log_slope = transformer.inverse(z.value, theta)
    np.testing.assert_allclose(back.value, x, rtol=1e-9, atol=1e-9)  # F is nearly flat at some x
    np.testing.assert_allclose(inverse_log_slope.value, -log_slope.value, rtol=1e-8, atol=1e-8)


def test_gradients_of_bounded_inverse(rng: np.random.Generator) -> None:
    theta = random_mixture(rng, 3, components=2) * 4
    for part in (0, 1):
        inverse = lambda z, t, i=part: MixtureCDF(2, bound=1.0).inverse(z, t)[i]
        check_grads(inverse, rng.normal(size=(2, 3)), theta, rng=rng, tolerance=1e-7)


def test_start_of_affine_transformer_is_identity() -> None:
    x = np.linspace(-5, 5, 11)
    z, log_slope = AffineTransformer().forward(x, AffineTransformer().start())
    np.testing.assert_array_equal(z.value, x)
    np.testing.assert_array_equal(log_slope.value, 0)


def test_start_of_mixture_covers_range_evenly() -> None:
    logits, means, log_scales = np.split(MixtureCDF(4).start(-3, 5), 3)
    np.testing.assert_array_equal(logits, 0)
    np.testing.assert_allclose(means, [-2, 0, 2, 4])
    np.testing.assert_allclose(np.exp(log_scales), 1)


TRANSFORMERS = {"affine": AffineTransformer(), "mixture": MixtureCDF(2), "spline": RationalQuadraticSpline(4, 3.0)}


@pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_shared_parameters_give_a_log_slope_for_each_variable(transformer: Any, rng: np.random.Generator) -> None:
    x, shared = rng.uniform(0.1, 0.9, (3, 4)), transformer.start() + 0.1
    own = np.broadcast_to(shared, (3, 4, transformer.width))
    for direction in (transformer.forward, transformer.inverse):
        for result, expected in zip(direction(x, shared), direction(x, own), strict=True):
            assert result.shape == (3, 4)
            np.testing.assert_allclose(result.value, expected.value)
