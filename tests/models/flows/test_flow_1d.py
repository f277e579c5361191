"""A learned distribution function: its density is the mixture's, its samples follow it, and it is learned."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tinygen.autograd import Array, grad, no_grad
from tinygen.models import Flow1D
from tinygen.optim import Adam
from tinygen.testing import (
    check_invertible,
    check_log_det,
    check_normalised_density,
    check_parameter_grads,
    check_sampler,
)
from tinygen.training import fit


def normal(a: Array) -> Array:
    return np.asarray(np.exp(-a * a / 2) / math.sqrt(2 * math.pi))


def logistic(a: Array) -> Array:
    return np.asarray(0.25 / np.cosh(a / 2) ** 2)


ALL = list(itertools.product(("logistic", "normal"), ("uniform", "normal")))


def random_flow(kind: str, noise: str) -> Flow1D:
    flow, rng = Flow1D(3, kind=kind, noise=noise).astype(np.float64), np.random.default_rng(0)
    for parameter in flow.parameters():
        parameter.assign(parameter.value + rng.normal(size=parameter.shape) * 0.4)
    return flow


@pytest.mark.parametrize(("kind", "noise"), ALL)
def test_bijection_density_and_gradient(kind: str, noise: str, rng: np.random.Generator) -> None:
    flow, x = random_flow(kind, noise), rng.uniform(-2, 2, (5, 1))
    check_invertible(flow.bijection, x, rng=rng)
    check_log_det(flow.bijection, x, rng=rng)
    check_normalised_density(flow.log_prob, [-40], [40], points=4097)
    check_parameter_grads(lambda: flow.loss(x), flow.parameters(), rng=rng)


@pytest.mark.parametrize(("kind", "noise"), ALL)
def test_the_density_is_that_of_the_mixture(kind: str, noise: str) -> None:
    flow, x = random_flow(kind, noise), np.linspace(-8, 8, 33)[:, None]
    logits, means, scales = flow.bijection.logits.value, flow.bijection.means.value, flow.bijection.log_scales.value
    component, widths = {"logistic": logistic, "normal": normal}[kind], np.exp(scales)
    weights = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(
        np.exp(flow.log_prob(x).value), (weights / widths * component((x - means) / widths)).sum(1), rtol=1e-9
    )


@pytest.mark.parametrize(("kind", "noise"), ALL)
def test_samples_follow_the_density(kind: str, noise: str, rng: np.random.Generator) -> None:
    """Of the cell that a sample falls into; the cells' masses are integrals of the density."""
    flow, edges = random_flow(kind, noise), np.array([-40, -3, -1.5, -0.5, 0, 0.5, 1.5, 3, 40])
    fine = np.linspace(edges[:-1], edges[1:], 4001)
    mass = np.trapezoid(np.exp(flow.log_prob(fine.reshape(-1, 1)).value).reshape(fine.shape), fine, axis=0)

    def check(drawn: Flow1D) -> None:
        check_sampler(
            lambda n, rng: np.searchsorted(edges[1:-1], drawn.sample(n, rng)),
            lambda k: np.log(mass[k[:, 0]]),
            np.arange(8)[:, None],
            4000,
            rng=rng,
        )

    check(flow)
    wrong = random_flow(kind, noise)
    wrong.bijection.log_scales.assign(flow.bijection.log_scales.value + 0.2)
    with pytest.raises(AssertionError, match="χ²"):
        check(wrong)


@pytest.mark.parametrize(("kind", "noise"), ALL)
def test_draws_can_be_differentiated(kind: str, noise: str, rng: np.random.Generator) -> None:
    """Shifting all means shifts x, so dx/dμ sums to 1; and scaling means and scales together scales x."""
    flow = random_flow(kind, noise)
    x, log_prob = flow.draw(50, rng)
    np.testing.assert_allclose(log_prob.value, flow.log_prob(x.value).value, atol=1e-9)
    means, log_scales = flow.bijection.means, flow.bijection.log_scales
    shift, stretch = grad(x.mean(), [means, log_scales])
    np.testing.assert_allclose(shift.value.sum(), 1, rtol=1e-9)
    np.testing.assert_allclose(np.sum(shift.value * means.value) + stretch.value.sum(), x.value.mean(), rtol=1e-7)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_it_learns_what_it_can_be(noise: str, rng: np.random.Generator) -> None:
    """Data of a mixture that it can express: down to its entropy, within the sampling error of the test numbers."""
    x = np.where(rng.random((4000, 1)) < 0.3, -2, 1) + 0.5 * rng.normal(size=(4000, 1))
    true = np.log(0.6 * normal((x + 2) / 0.5) + 1.4 * normal((x - 1) / 0.5)).mean()
    flow = Flow1D(4, kind="normal", noise=noise)
    fit(flow.loss, flow, x.astype(np.float32), optimizer=Adam(flow.parameters(), 0.05), batch_size=200, rng=rng,
        epochs=10, progress=False)  # fmt: skip
    with no_grad():
        assert -0.01 < flow.log_prob(x).value.mean() - true < 0.01  # 12 numbers fitted to 4000: 0.0015 nats expected
    assert math.isfinite(flow.loss(np.array([[1e6]], np.float32)).item())


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="noise: expected uniform or normal"):
        Flow1D(3, noise="logit")
    for wrong in ((1.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="data_range: expected"):
            Flow1D(3, data_range=wrong)
    with pytest.raises(ValueError, match="components: expected at least 1"):
        Flow1D(0)
    with pytest.raises(ValueError, match="x: expected shape"):
        Flow1D(3).log_prob(np.zeros(4))
