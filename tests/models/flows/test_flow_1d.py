"""Flow1D: its density is the mixture's density, its samples follow it, and it can be fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.flows import check_bijection, perturbed

from tinygen.autograd import Array, grad, no_grad
from tinygen.models import Flow1D
from tinygen.optim import Adam
from tinygen.testing import check_normalised_density, check_parameter_grads, check_sampler
from tinygen.training import fit

NOISES = ("uniform", "normal")


def logistic_density(a: Array) -> Array:
    return np.asarray(0.25 / np.cosh(a / 2) ** 2)


def random_flow(noise: str) -> Flow1D:
    return perturbed(Flow1D(3, noise=noise), np.random.default_rng(0), 0.4)


@pytest.mark.parametrize("noise", NOISES)
def test_bijection_density_and_gradients(noise: str, rng: np.random.Generator) -> None:
    flow, x = random_flow(noise), rng.uniform(-2, 2, (5, 1))
    check_bijection(flow.bijection, x, rng=rng)
    check_normalised_density(flow.log_prob, [-40], [40], points=4097)
    check_parameter_grads(lambda: flow.loss(x), flow.parameters(), rng=rng)


@pytest.mark.parametrize("noise", NOISES)
def test_density_is_that_of_mixture(noise: str) -> None:
    flow, x = random_flow(noise), np.linspace(-8, 8, 33)[:, None]
    logits, means, log_scales = (p.value for p in flow.parameters())
    weights, scales = np.exp(logits) / np.exp(logits).sum(), np.exp(log_scales)
    density = (weights / scales * logistic_density((x - means) / scales)).sum(1)
    np.testing.assert_allclose(np.exp(flow.log_prob(x).value), density, rtol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
def test_samples_follow_density(noise: str, rng: np.random.Generator) -> None:
    """Compare the frequencies of 8 intervals with the integrals of the density."""
    flow, edges = random_flow(noise), np.array([-40, -3, -1.5, -0.5, 0, 0.5, 1.5, 3, 40])
    fine = np.linspace(edges[:-1], edges[1:], 4001)
    mass = np.trapezoid(np.exp(flow.log_prob(fine.reshape(-1, 1)).value).reshape(fine.shape), fine, axis=0)

    def check(sampled: Flow1D) -> None:
        check_sampler(
            lambda n, rng: np.searchsorted(edges[1:-1], sampled.sample(n, rng)),
            lambda k: np.log(mass[k[:, 0]]),
            np.arange(8)[:, None],
            4000,
            rng=rng,
        )

    check(flow)
    wrong = random_flow(noise)
    wrong.bijection.log_scales.assign(flow.bijection.log_scales.value + 0.2)
    with pytest.raises(AssertionError, match="χ²"):
        check(wrong)


@pytest.mark.parametrize("noise", NOISES)
def test_draw_is_differentiable(noise: str, rng: np.random.Generator) -> None:
    """Shifting all means by δ shifts x by δ, so Σ dx/dμ = 1; multiplying means and scales by c multiplies x by c."""
    flow = random_flow(noise)
    x, log_prob = flow.draw(50, rng)
    np.testing.assert_allclose(log_prob.value, flow.log_prob(x.value).value, atol=1e-9)
    means, log_scales = flow.bijection.means, flow.bijection.log_scales
    by_mean, by_log_scale = grad(x.mean(), [means, log_scales])
    np.testing.assert_allclose(by_mean.value.sum(), 1, rtol=1e-9)
    np.testing.assert_allclose(
        np.sum(by_mean.value * means.value) + by_log_scale.value.sum(), x.value.mean(), rtol=1e-7
    )


@pytest.mark.parametrize("noise", NOISES)
def test_fits_mixture_to_its_entropy(noise: str, rng: np.random.Generator) -> None:
    """The data are a mixture of two logistics, so the loss reaches their entropy within the sampling error."""
    x = np.where(rng.random((4000, 1)) < 0.3, -2, 1) + 0.3 * rng.logistic(size=(4000, 1))
    density = (0.3 * logistic_density((x + 2) / 0.3) + 0.7 * logistic_density((x - 1) / 0.3)) / 0.3
    flow = Flow1D(4, noise=noise)
    optimizer = Adam(flow.parameters(), 0.05)
    fit(flow.loss, flow, x.astype(np.float32), optimizer=optimizer, batch_size=200, rng=rng, epochs=10, progress=False)
    with no_grad():
        gain = flow.log_prob(x).value.mean() - np.log(density).mean()
    assert -0.01 < gain < 0.01  # overfitting 4000 numbers with 12 parameters gains about 12 / 8000 = 0.0015 nats
    assert math.isfinite(flow.loss(np.array([[1e6]], np.float32)).item())


def test_rejects_invalid_settings() -> None:
    with pytest.raises(ValueError, match="noise: expected 'uniform' or 'normal'"):
        Flow1D(3, noise="logit")
    for wrong in ((1.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="data_range: expected"):
            Flow1D(3, data_range=wrong)
    with pytest.raises(ValueError, match="components: expected at least 1"):
        Flow1D(0)
    with pytest.raises(ValueError, match="x: expected shape"):
        Flow1D(3).log_prob(np.zeros(4))
