"""Transformers: a mixture's distribution function, precise in its tails, and its inverse; what bounds the scales."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter, Tensor, TensorLike, grad, no_grad
from tinygen.bijections import AffineTransformer, Bijection, MixtureCDF
from tinygen.bijections.bijection import sum_event
from tinygen.testing import check_grads, check_invertible, check_log_det
from tinygen.testing.strategies import rngs

KINDS, NOISES = ("logistic", "normal"), ("uniform", "logit", "normal")
ALL = list(itertools.product(KINDS, NOISES))
unbounded = partial(MixtureCDF, bound=None)  # of the very parameters that it is given


class PerVariable(Bijection):
    """Each variable moved by its own mixture."""

    def __init__(self, transformer: MixtureCDF, theta: np.ndarray) -> None:
        self.transformer, self.theta = transformer, Parameter(theta, np.float64)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self.theta)
        return z, sum_event(log_slope)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.transformer.inverse(z, self.theta)
        return x, sum_event(log_slope)


def mixture(rng: np.random.Generator, *shape: int, components: int = 3) -> np.ndarray:
    return rng.normal(size=(*shape, 3 * components)) * 0.4


@given(rng=rngs(), kind=st.sampled_from(KINDS), noise=st.sampled_from(NOISES), components=st.integers(2, 4))
def test_it_is_a_bijection(rng: np.random.Generator, kind: str, noise: str, components: int) -> None:
    theta = mixture(rng, 2, components=components)
    bijection = PerVariable(unbounded(components, kind, noise), theta)
    x = unbounded(components, kind, "uniform").inverse(rng.uniform(0.1, 0.9, (3, 2)), theta)[0].value
    check_invertible(bijection, x, rng=rng)
    check_log_det(bijection, x, rng=rng)


@pytest.mark.parametrize(("kind", "noise"), ALL)
def test_derivatives_of_both_directions(kind: str, noise: str, rng: np.random.Generator) -> None:
    """Of the inverse by z and by the parameters, to second order: they are those of the implicit function."""
    transformer, theta = unbounded(2, kind, noise), mixture(rng, 3, components=2)
    for direction in ("forward", "inverse"):
        x = rng.uniform(0.3, 0.7, (2, 3))
        for part in (0, 1):
            check_grads(
                lambda x, t, d=direction, i=part: getattr(transformer, d)(x, t)[i], x, theta, rng=rng, tolerance=1e-7
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_component_is_known(kind: str, rng: np.random.Generator) -> None:
    x, theta = rng.normal(size=(5,)) * 3, np.array([0.7, 0.5, math.log(2)])
    a = (x - 0.5) / 2
    z, log_slope = unbounded(1, kind, "logit" if kind == "logistic" else "normal").forward(x, theta)
    np.testing.assert_allclose(z.value, a, rtol=1e-13)
    np.testing.assert_allclose(log_slope.value, -math.log(2), rtol=1e-12)


@pytest.mark.parametrize(("kind", "noise"), [(k, n) for k, n in ALL if n != "uniform"])
def test_far_out_nothing_saturates(kind: str, noise: str, rng: np.random.Generator) -> None:
    """At a hundred scales, where u rounds to 0 or 1, z is finite, ordered, and finds its way back."""
    transformer, theta = unbounded(3, kind, noise), mixture(rng)
    x = np.array([-1e4, -200, -100, -40, 40, 100, 200, 1e4])
    z, log_slope = transformer.forward(x, theta)
    assert np.all(np.isfinite(log_slope.value))
    assert np.all(np.diff(z.value) > 0)
    np.testing.assert_allclose(transformer.inverse(z, theta)[0].value, x, rtol=1e-12)


@given(rng=rngs(), dtype=st.sampled_from([np.float32, np.float64]), kind=st.sampled_from(KINDS))
def test_a_distribution_function_never_passes_one(rng: np.random.Generator, dtype: Any, kind: str) -> None:
    """Weights that sum to 1 but for rounding must not: the density of such a u would be 0, and the loss infinite."""
    transformer, theta = unbounded(5, kind, "uniform"), rng.normal(size=15).astype(dtype)
    x = np.concatenate([np.linspace(-9, 9, 400), [-1e4, 1e4]]).astype(dtype)
    u = transformer.forward(x, theta)[0].value
    assert np.all((u >= 0) & (u <= 1))
    assert np.all(np.isfinite(transformer.inverse(u, theta)[0].value))


def test_the_noises_are_one_map() -> None:
    theta, x = mixture(np.random.default_rng(3)), np.linspace(-6, 6, 25)
    u, to_u = unbounded(3, "logistic", "uniform").forward(x, theta)
    logit, to_logit = unbounded(3, "logistic", "logit").forward(x, theta)
    np.testing.assert_allclose(logit.value, np.log(u.value / (1 - u.value)), atol=1e-11)
    np.testing.assert_allclose(to_logit.value, to_u.value - np.log(u.value * (1 - u.value)), atol=1e-11)
    normal, _ = unbounded(3, "logistic", "normal").forward(x, theta)
    np.testing.assert_allclose([(1 + math.erf(z / math.sqrt(2))) / 2 for z in normal.value], u.value, rtol=1e-11)


@given(rng=rngs(), kind=st.sampled_from(KINDS))
def test_the_inverse_of_a_difficult_mixture(rng: np.random.Generator, kind: str) -> None:
    """Scales from e⁻⁸ to e⁸, weights down to e⁻⁴⁰, means far apart: held to z, for where F is flat x is not unique."""
    theta = np.concatenate([rng.uniform(-40, 0, 4), rng.uniform(-100, 100, 4), rng.uniform(-8, 8, 4)])
    transformer = unbounded(4, kind, "normal")
    z = rng.normal(size=50) * 3
    x, log_slope = transformer.inverse(z, theta)
    again, back = transformer.forward(x, theta)
    # x is right to a rounding of itself, which is steep's worth of z
    np.testing.assert_array_less(np.abs(again.value - z), 1e-12 + 4e-16 * np.abs(x.value) * np.exp(back.value))
    np.testing.assert_array_equal(log_slope.value, -back.value)


def test_float32_stays_and_inverts(rng: np.random.Generator) -> None:
    theta, z = mixture(rng).astype(np.float32), rng.normal(size=100).astype(np.float32)
    for noise in ("logit", "normal"):
        x, log_slope = unbounded(3, "logistic", noise).inverse(z, theta)
        assert x.dtype == log_slope.dtype == np.float32
        np.testing.assert_allclose(unbounded(3, "logistic", noise).forward(x, theta)[0].value, z, atol=1e-5)


def test_the_quantile_alone_is_that_of_the_inverse(rng: np.random.Generator) -> None:
    transformer, theta, z = unbounded(3, noise="normal"), mixture(rng), rng.normal(size=(4, 2))
    np.testing.assert_array_equal(transformer.quantile(z, theta).value, transformer.inverse(z, theta)[0].value)


def test_uniform_numbers_at_the_very_ends() -> None:
    """`rng.random()` may be 0, and cast to float32 it may be 1: finite and far out, not infinite."""
    for dtype in (np.float32, np.float64):
        x, log_slope = unbounded(1, noise="uniform").inverse(np.array([0, 1], dtype), np.zeros(3, dtype))
        np.testing.assert_allclose(x.value, np.log(np.finfo(dtype).eps / np.array([4, 2])) * [1, -1], rtol=1e-6)
        assert np.all(np.isfinite(log_slope.value))


@pytest.mark.parametrize("noise", NOISES)
def test_parameters_of_each_example(noise: str, rng: np.random.Generator) -> None:
    """As a network gives them: (N, D, 3K)."""
    transformer, theta = unbounded(3, noise=noise), mixture(rng, 4, 2)
    x = rng.normal(size=(4, 2))
    z, log_slope = transformer.forward(x, theta)
    for i, j in np.ndindex(4, 2):
        alone, slope = transformer.forward(x[i, j], theta[i, j])
        np.testing.assert_allclose([alone.item(), slope.item()], [z.value[i, j], log_slope.value[i, j]], rtol=1e-12)
    with no_grad():
        np.testing.assert_allclose(transformer.inverse(z, theta)[0].value, x, atol=1e-9)


def test_the_inverse_is_differentiated_at_its_solution(rng: np.random.Generator) -> None:
    """dx/dμ = 1 for a single component, and dx/d ln s = x − μ."""
    theta = Tensor(np.array([0.0, 0.5, 0.3]))
    x, _ = unbounded(1, noise="normal").inverse(np.array([1.3]), theta)
    (slope,) = grad(x.sum(), [theta])
    np.testing.assert_allclose(slope.value, [0, 1, x.item() - 0.5], atol=1e-12)


def test_what_cannot_be() -> None:
    transformer = unbounded(2)
    for shape in ((5,), (6, 1), (3, 6), (2, 2, 6)):
        for direction in ("forward", "inverse"):
            with pytest.raises(ValueError, match="parameters: expected"):
                getattr(transformer, direction)(np.zeros(2), np.zeros(shape))
    for z in (np.nan, np.inf):
        with pytest.raises(ValueError, match="z: expected numbers"):
            transformer.inverse(np.array([0.0, z]), np.zeros(6))
    with pytest.raises(ValueError, match=r"z: expected numbers 0 … 1, got -0\.1 … 0\.5"):
        unbounded(2, noise="uniform").inverse(np.array([-0.1, 0.5]), np.zeros(6))
    for bad in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="diverged"):
            transformer.inverse(np.zeros(2), np.array([0, 0, bad, 0, 0, 0]))
    wrong: dict[str, Any] = {"components": 0, "kind": "cauchy", "noise": "pink", "bound": 0.0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            MixtureCDF(**{"components": 2, name: value})
    with pytest.raises(ValueError, match="bound: expected a positive number, got 0"):
        AffineTransformer(0.0)


def test_the_scales_are_bounded() -> None:
    """Each of these has slope e^±ln s at the place where it is asked for, and near 0 the bound is not felt."""
    _, log_slope = AffineTransformer(3.0).forward(np.zeros(3), np.array([[1e4, 0.0], [-1e4, 0.0], [1e-3, 0.0]]))
    np.testing.assert_allclose(log_slope.value, [3, -3, 1e-3], rtol=1e-6)
    parameters = np.array([[0.0, 0.0, 1e4], [0.0, 0.0, -1e4], [0.0, 0.0, 1e-3]])
    _, log_slope = MixtureCDF(1, noise="logit", bound=3.0).forward(np.zeros(3), parameters)
    np.testing.assert_allclose(log_slope.value, [-3, 3, -1e-3], rtol=1e-6)


def test_the_inverse_is_differentiated_through_the_bound(rng: np.random.Generator) -> None:
    theta = mixture(rng, 3, components=2) * 4
    for part in (0, 1):
        inverse = lambda z, t, i=part: MixtureCDF(2, bound=1.0).inverse(z, t)[i]
        check_grads(inverse, rng.normal(size=(2, 3)), theta, rng=rng, tolerance=1e-7)


def test_the_start() -> None:
    """The affine map as the identity, the mixture as an even cover of its range."""
    x = np.linspace(-5, 5, 11)
    z, log_slope = AffineTransformer().forward(x, AffineTransformer().start())
    np.testing.assert_array_equal(z.value, x)
    np.testing.assert_array_equal(log_slope.value, 0)
    logits, means, log_scales = np.split(MixtureCDF(4).start(-3, 5), 3)
    np.testing.assert_array_equal(logits, 0)
    np.testing.assert_allclose(means, [-2, 0, 2, 4])
    np.testing.assert_allclose(np.exp(log_scales), 1)
