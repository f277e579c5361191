"""VAE: comparison with the exact ln p(x) of a linear-Gaussian model; KL term, flows, samples, errors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import randomise, small_vae

import tinygen
from tinygen.autograd import Array, Parameter, Tensor, TensorLike, grad, tanh
from tinygen.autograd.tensor import array_of
from tinygen.bijections import Affine, Bijection, Chain, Flow, Inverse
from tinygen.distributions import Bernoulli, Categorical, Gaussian, StandardNormal
from tinygen.models import IAF, MAF, VAE
from tinygen.nn import Linear, Module, Sequential
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import Adam
from tinygen.testing import check_conditional, check_grads, check_parameter_grads

D, LATENT, SIGMA = 4, 2, 0.7


class LinearGaussian:
    """A model with z ~ N(0, I), x | z ~ N(W z + b, σ² I), and hence x ~ N(b, W Wᵀ + σ² I).

    WᵀW is diagonal, so the covariance of z | x is, too.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.w = np.linalg.qr(rng.normal(size=(D, LATENT)))[0] * [1.5, 0.8]
        self.b = rng.normal(size=D)
        variance = SIGMA**2 / (SIGMA**2 + np.array([1.5, 0.8]) ** 2)
        self.to_mean, self.log_scale = variance * self.w / SIGMA**2, 0.5 * np.log(variance)  # (D, LATENT), (LATENT,)

    def log_prob(self, x: Array) -> Array:
        cov = self.w @ self.w.T + SIGMA**2 * np.eye(D)
        quadratic = np.einsum("ni,ij,nj->n", x - self.b, np.linalg.inv(cov), x - self.b)
        return -0.5 * (quadratic + np.linalg.slogdet(cov)[1] + D * np.log(2 * np.pi))  # type: ignore[no-any-return]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        return rng.normal(size=(n, LATENT)) @ self.w.T + self.b + SIGMA * rng.normal(size=(n, D))  # type: ignore[no-any-return]

    def vae(self, shift: float = 0.0, spread: float = 0.0) -> VAE:
        """Return this model as a VAE, with `shift` and `spread` added to the exact posterior mean and log-scale."""
        rng = np.random.default_rng(0)
        encoder, decoder = Linear(D, 2 * LATENT, rng), Linear(LATENT, D, rng)
        encoder.w.assign(np.hstack([self.to_mean, np.zeros((D, LATENT))]))
        assert encoder.b is not None
        assert decoder.b is not None
        encoder.b.assign(np.concatenate([shift - self.b @ self.to_mean, self.log_scale + spread]))
        decoder.w.assign(self.w.T)
        decoder.b.assign(self.b)
        model = VAE((D,), LATENT, encoder, Sequential(decoder, lambda x: x.reshape(-1, D, 1)), Gaussian(SIGMA))
        model.astype(np.float64)
        encoder.w.assign(np.hstack([self.to_mean, np.zeros((D, LATENT))]))  # again, without the rounding to float32
        encoder.b.assign(np.concatenate([shift - self.b @ self.to_mean, self.log_scale + spread]))
        decoder.w.assign(self.w.T)
        decoder.b.assign(self.b)
        return model

    def kl_from_posterior(self, x: Array, model: VAE) -> Array:
        q = model.posterior(x)
        m, s = (x - self.b) @ self.to_mean, np.exp(self.log_scale)
        ratio = np.exp(q.log_scale.value) / s
        return (0.5 * (ratio**2 + ((q.mean.value - m) / s) ** 2 - 1) - np.log(ratio)).sum(1)  # type: ignore[no-any-return]


class SigmaPoints(np.random.Generator):
    """A substitute for the rng: 2d points ±√d eᵢ of mean 0 and covariance I, so that means of quadratics are exact."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, shape: Any) -> Any:  # type: ignore[override]
        k, _, d = shape
        assert k == 2 * d
        points = np.sqrt(d) * np.vstack([np.eye(d), -np.eye(d)])
        return np.broadcast_to(points[:, None], shape).copy()


@pytest.fixture
def known(rng: np.random.Generator) -> LinearGaussian:
    return LinearGaussian(rng)


def test_elbo_is_log_p_minus_kl_from_true_posterior(known: LinearGaussian, rng: np.random.Generator) -> None:
    x, model = known.sample(6, rng), known.vae(shift=0.3, spread=0.2)
    elbo = model.elbo(x, 2 * LATENT, SigmaPoints()).value
    gap = known.kl_from_posterior(x, model)
    assert gap.min() > 0.05
    np.testing.assert_allclose(elbo, known.log_prob(x) - gap, atol=1e-9)


def test_elbo_with_wrong_kl_differs(known: LinearGaussian, rng: np.random.Generator) -> None:
    # Common errors: half the KL, the KL with the wrong sign, a log-variance used as a log-scale.
    x, model = known.sample(6, rng), known.vae(shift=0.3, spread=0.2)
    truth = known.log_prob(x) - known.kl_from_posterior(x, model)
    points = SigmaPoints()
    for beta in (0.5, -1.0):
        assert np.abs(model.elbo(x, 4, points, beta=beta).value - truth).min() > 1e-3
    encoder: Any = model.encoder
    encoder.b.assign(np.concatenate([encoder.b.value[:LATENT], 2 * encoder.b.value[LATENT:]]))
    assert np.abs(model.elbo(x, 4, points).value - truth).min() > 1e-3


@pytest.mark.parametrize("kl", ["analytic", "monte_carlo"])
def test_beta_scales_kl_term(kl: str, known: LinearGaussian, rng: np.random.Generator) -> None:
    x, model = known.sample(4, rng), known.vae(shift=0.3, spread=0.2)

    def loss(**settings: Any) -> float:
        return model.loss(x, rng=np.random.default_rng(5), **settings).item()

    reconstruction, full = loss(kl=kl, beta=0.0), loss(kl=kl)
    assert full - reconstruction > 0.1
    assert loss(kl=kl, beta=0.25) == pytest.approx(0.75 * reconstruction + 0.25 * full, rel=1e-9)
    assert full == -model.elbo(x, 1, np.random.default_rng(5), kl=kl).mean().item()
    assert (full == loss()) == (kl == "analytic")


def test_bounds_are_tight_for_true_posterior(known: LinearGaussian, rng: np.random.Generator) -> None:
    x, model = known.sample(5, rng), known.vae()
    exact = known.log_prob(x)  # every importance weight equals p(x)
    np.testing.assert_allclose(model.elbo(x, 1, rng, kl="monte_carlo").value, exact, atol=1e-9)
    np.testing.assert_allclose(model.iwae_bound(x, 5, rng).value, exact, atol=1e-9)
    np.testing.assert_allclose(model.log_prob(x, 7, rng, chunk_size=3), exact, atol=1e-9)


def test_iwae_bound_increases_with_k_and_stays_below_log_p(known: LinearGaussian, rng: np.random.Generator) -> None:
    model, x = known.vae(shift=0.5, spread=0.4), known.sample(4000, rng)
    exact = known.log_prob(x)
    gaps = [exact - model.iwae_bound(x, k, rng).value for k in (1, 5, 50)]
    for lower, higher in pairwise(gaps):
        difference = lower - higher
        assert difference.mean() > 3 * difference.std() / np.sqrt(len(x))
    assert gaps[-1].mean() > -3 * gaps[-1].std() / np.sqrt(len(x))
    assert gaps[0].mean() == pytest.approx(
        known.kl_from_posterior(x, model).mean(), abs=4 * gaps[0].std() / np.sqrt(len(x))
    )


def test_analytic_and_monte_carlo_kl_agree_in_expectation(known: LinearGaussian, rng: np.random.Generator) -> None:
    model, x = known.vae(shift=0.5, spread=0.4), np.repeat(known.sample(3, rng), 4000, axis=0)
    analytic, sampled = (model.elbo(x, 1, rng, kl=kl).value.reshape(3, -1) for kl in ("analytic", "monte_carlo"))
    error = np.sqrt((analytic.var(1) + sampled.var(1)) / 4000)
    assert np.all(np.abs(analytic.mean(1) - sampled.mean(1)) < 4 * error)


def test_loss_is_mean_of_negative_bound(known: LinearGaussian, rng: np.random.Generator) -> None:
    x, model = known.sample(6, rng), known.vae(shift=0.3, spread=0.2)
    z, _ = model.sample_posterior(model.posterior(x), 1, np.random.default_rng(3))
    likelihood, kl = model.log_likelihood(x, z).value[0], model.kl_per_dimension(x).value.sum(1)
    for beta in (0.0, 0.3, 1.0):
        bound = likelihood - beta * kl
        np.testing.assert_allclose(model.elbo(x, 1, np.random.default_rng(3), beta=beta).value, bound, rtol=1e-12)
        loss = model.loss(x, rng=np.random.default_rng(3), beta=beta).item()
        assert loss == pytest.approx(-bound.mean(), rel=1e-12)
    tighter = model.iwae_bound(x, 5, np.random.default_rng(3)).value.mean()
    assert model.loss(x, k=5, rng=np.random.default_rng(3)).item() == pytest.approx(-tighter, rel=1e-12)


def test_closed_form_kl_matches_numerical_integral(known: LinearGaussian, rng: np.random.Generator) -> None:
    model, x = known.vae(shift=0.5, spread=0.4), known.sample(3, rng)
    q, z = model.posterior(x), np.linspace(-15, 15, 3001)

    def log_density(mean: Any, scale: Any) -> Array:  # normalised numerically on the grid
        log_p = -0.5 * ((z - mean) / scale) ** 2
        return log_p - np.log(np.exp(log_p).sum(-1, keepdims=True) * 0.01)  # type: ignore[no-any-return]

    log_q = log_density(q.mean.value[..., None], np.exp(q.log_scale.value)[..., None])  # (3, LATENT, 3001)
    integrals = (np.exp(log_q) * (log_q - log_density(0, 1))).sum(-1) * 0.01
    assert integrals.min() > 0.05
    np.testing.assert_allclose(model.kl_per_dimension(x).value, integrals, rtol=1e-9)


def test_kl_is_analytic_by_default_if_closed_form_exists(rng: np.random.Generator) -> None:
    x, prior = np.array([[0, 1, 1], [1, 0, 0]]), Flow(Affine(np.array([0.8, 1.3]), np.zeros(2)), StandardNormal((2,)))
    gaussian, with_prior = small_vae(Bernoulli(), rng), small_vae(Bernoulli(), rng, prior=prior)
    with_flow = small_vae(Bernoulli(), rng, context=1, posterior_flow=Shear())
    for model, kl in ((gaussian, "analytic"), (with_prior, "monte_carlo"), (with_flow, "monte_carlo")):
        a, b = (model.elbo(x, 3, np.random.default_rng(2), kl=chosen).value for chosen in (None, kl))
        np.testing.assert_array_equal(a, b)
    for model in (with_prior, with_flow):
        with pytest.raises(ValueError, match="kl: expected 'monte_carlo'"):
            model.elbo(x, 1, rng, kl="analytic")
        with pytest.raises(ValueError, match="kl: expected 'monte_carlo'"):
            model.kl_per_dimension(x)


class Shear(Bijection):
    """A shift of z₂ by a function of z₁ and the context (log-det 0), which makes the posterior non-Gaussian."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        assert isinstance(z, Tensor)
        assert isinstance(context, Tensor)
        x = z + tanh(z[:, ::-1]) * np.array([0.0, 1.0]) * context
        return x, Tensor(np.zeros(len(z.value)))


def test_log_prob_does_not_depend_on_posterior_flow(rng: np.random.Generator) -> None:
    # E_q w = p(x) for every q, so log_prob is the same with and without a posterior flow.
    affine = Affine(np.array([0.8, 1.3]), np.array([0.2, -0.1]))
    prior = Flow(Chain(affine), StandardNormal((2,)))
    x = np.array([[0, 1, 1], [1, 0, 0]])
    gaussian = small_vae(Bernoulli(), np.random.default_rng(1), prior=prior)
    with_flow = small_vae(Bernoulli(), np.random.default_rng(1), context=1, prior=prior, posterior_flow=Shear())
    with_flow.decoder = gaussian.decoder
    a, b = (model.log_prob(x, 40_000, rng, chunk_size=4000) for model in (gaussian, with_flow))
    np.testing.assert_allclose(a, b, atol=0.05)  # about five standard errors
    without_context = small_vae(Bernoulli(), np.random.default_rng(1), prior=prior, posterior_flow=Inverse(affine))
    without_context.decoder = gaussian.decoder
    np.testing.assert_allclose(without_context.log_prob(x, 40_000, rng, chunk_size=4000), a, atol=0.05)


def vaes_with_flows(rng: np.random.Generator) -> tuple[VAE, VAE]:
    """Return two VAEs with the same MAF prior and decoder: one with a Gaussian posterior, one with an IAF posterior."""
    prior = MAF(2, rng, layers=2, hidden=(5,))
    posterior = IAF(2, rng, layers=2, hidden=(5,), context=1).bijection
    gaussian = small_vae(Bernoulli(), np.random.default_rng(1), prior=prior)
    with_flow = small_vae(Bernoulli(), np.random.default_rng(1), context=1, prior=prior, posterior_flow=posterior)
    with_flow.decoder = gaussian.decoder
    for flow in (prior.bijection, posterior):
        for parameter in flow.parameters():
            parameter.assign(parameter.value * 0.5)
        layers: Any = getattr(flow, "bijection", flow)
        for layer in layers.bijections:
            layer.net.activation = tanh  # smooth, for finite differences
    for model in (gaussian, with_flow):  # q is a little wider than the prior, so that no importance weight dominates
        encoder: Any = model.encoder
        encoder.layers[2].b.assign(np.array([0, 0, 0.3, 0.3, 0.5])[: 4 + (model is with_flow)])
    return gaussian, with_flow


def test_log_prob_with_iaf_posterior_and_maf_prior(rng: np.random.Generator) -> None:
    gaussian, with_flow = vaes_with_flows(rng)
    x = np.array([[0, 1, 1], [1, 0, 0]])
    a, b = (model.log_prob(x, 40_000, rng, chunk_size=4000) for model in (gaussian, with_flow))
    np.testing.assert_allclose(a, b, atol=0.06)  # about five standard errors
    # The flow is not the identity: the bound differs. The log-determinant matters: without it the estimate is wrong.
    bounds = [model.log_weights(x, 4000, rng).value.mean(0) for model in (gaussian, with_flow)]
    assert np.abs(bounds[0] - bounds[1]).max() > 0.05
    assert with_flow.posterior_flow is not None
    with_flow.posterior_flow = WithoutLogDet(with_flow.posterior_flow)
    assert np.abs(with_flow.log_prob(x, 40_000, rng, chunk_size=4000) - a).max() > 0.3


def test_examples_are_independent(rng: np.random.Generator) -> None:
    _, model = vaes_with_flows(rng)
    x, changed = np.array([[0, 1, 1], [1, 0, 0]]), np.array([[0, 1, 1], [1, 1, 1]])
    a, b = (model.log_weights(each, 3, np.random.default_rng(3)).value for each in (x, changed))
    np.testing.assert_allclose(a[:, 0], b[:, 0], rtol=1e-12)
    assert np.all(a[:, 1] != b[:, 1])
    assert np.unique(model.log_weights(x[[0, 0]], 3, rng).value).size == 6  # each sample has its own noise


class WithoutLogDet(Bijection):
    """A flow that returns a log-determinant of 0."""

    def __init__(self, flow: Bijection) -> None:
        self.flow = flow

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.flow.inverse(z, context)
        return x, 0 * log_det


@pytest.mark.parametrize("k", [1, 3])
def test_gradients_match_finite_differences_with_flows(k: int, rng: np.random.Generator) -> None:
    _, model = vaes_with_flows(rng)
    assert isinstance(model.prior, MAF)
    x = np.array([[0, 1, 1], [1, 0, 0]])
    names = list(model.named_parameters())
    assert any(name.startswith("prior") for name in names)
    assert any(name.startswith("posterior_flow") for name in names)
    check_parameter_grads(lambda: model.loss(x, rng=np.random.default_rng(3), k=k), model.parameters(), rng=rng)


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussian()])
def test_bounds_and_samples_have_right_shape_for_each_output(output: Any, rng: np.random.Generator) -> None:
    model = small_vae(output, rng)
    x = model.sample(7, rng)
    assert x.shape == (7, 3)
    assert model.elbo(x, 1, rng).shape == model.iwae_bound(x, 3, rng).shape == model.log_prob(x, 3, rng).shape == (7,)
    assert model.sample(0, rng).shape == (0, 3)


def test_samples_have_the_covariance_of_the_marginal(known: LinearGaussian, rng: np.random.Generator) -> None:
    """W Wᵀ + σ² I: samples without the noise of the decoder, or of the prior, lack one of the terms."""
    n, covariance = 20_000, known.w @ known.w.T + SIGMA**2 * np.eye(D)
    x = known.vae().sample(n, rng)
    variance = np.diag(covariance)
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert np.all(np.abs(np.cov(x.T) - covariance) < 5 * error)
    assert np.all(np.abs(x.mean(0) - known.b) < 5 * np.sqrt(variance / n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("k", [1, 3])
def test_loss_has_the_dtype_of_the_model(dtype: Any, data: Any, k: int, rng: np.random.Generator) -> None:
    model = small_vae(Gaussian(), rng).astype(dtype)
    assert model.loss(np.ones((4, 3), data), rng=rng, k=k).dtype == dtype


def test_scale_of_the_output_is_learned_and_saved(tmp_path: Path) -> None:
    rng, scale = np.random.default_rng(0), Parameter(1.0)
    encoder, decoder = MLPEncoder((3,), 4, rng, hidden=(8,)), MLPDecoder(2, (3, 1), rng, hidden=(8,))
    model = VAE((3,), 2, encoder, decoder, Gaussian(scale))
    x, adam = 0.1 * rng.normal(size=(64, 3)), Adam(model.parameters(), 0.03)
    for _ in range(100):
        adam.step(grad(model.loss(x, rng=rng), model.parameters()))
    assert 0.05 < scale.item() < 0.2
    tinygen.save(model, tmp_path / "model.npz")
    again = tinygen.load(tmp_path / "model.npz")
    assert again.output.scale.item() == scale.item()  # type: ignore[attr-defined]


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(300)], ids=["bits", "300 levels"])
def test_likelihood_is_that_of_the_output_for_every_integer_type(output: Any, rng: np.random.Generator) -> None:
    model = small_vae(output, rng).astype(np.float64)
    x, z = rng.integers(0, output.levels, (4, *model.shape)), Tensor(rng.normal(size=(3, 4, model.latent)))
    x[0] = output.levels - 1  # does not fit into uint8 if there are 300 levels
    parameters = model.decoder(z.reshape(12, -1))
    each = output.log_prob(parameters, np.concatenate([x, x, x])).value.reshape(3, 4, -1)
    for dtype in [int, np.uint8, np.int8, bool] if output.levels == 2 else [int, np.uint16, np.int32]:
        np.testing.assert_allclose(model.log_likelihood(x.astype(dtype), z).value, each.sum(-1), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decoder_computes_in_the_dtype_of_the_model(dtype: Any, rng: np.random.Generator) -> None:
    model, seen = small_vae(Bernoulli(), rng).astype(dtype), []
    decoder = model.decoder

    def recorder(z: TensorLike) -> Tensor:
        seen.append(array_of(z).dtype)
        return decoder(z)

    model.decoder = recorder
    model.log_prob(model.sample(3, rng), 2, rng)
    assert seen == [dtype, dtype]


def test_probabilities_sum_to_one(rng: np.random.Generator) -> None:
    model = small_vae(Bernoulli(), rng)
    support = np.array(list(np.ndindex(2, 2, 2)))
    total = np.exp(model.log_prob(support, 20_000, rng, chunk_size=2000)).sum()
    assert total == pytest.approx(1, abs=0.02)  # tolerance for importance sampling


def test_samples_follow_density(rng: np.random.Generator) -> None:
    prior = Flow(Affine(np.array([0.8, 1.3]), np.array([1.0, -1.0])), StandardNormal((2,)))
    model, n = small_vae(Bernoulli(), rng, prior=prior), 20_000
    support = np.array(list(np.ndindex(2, 2, 2)))
    z = Tensor(np.broadcast_to(prior.sample(n, rng)[:, None], (n, 8, 2)).copy())
    p = np.exp(model.log_likelihood(support, z).value).mean(0)  # from the prior, which covers all z
    counts = [np.bincount(model.sample(n, rng) @ [4, 2, 1], minlength=8)]
    model.prior = StandardNormal((2,))  # samples from the wrong prior must be detected
    counts.append(np.bincount(model.sample(n, rng) @ [4, 2, 1], minlength=8))
    right, wrong = (np.abs(count / n - p).max() for count in counts)
    assert right < 0.015 < wrong  # five standard errors


@pytest.mark.parametrize("k", [1, 3])
def test_gradients_match_finite_differences(k: int, rng: np.random.Generator) -> None:
    model, x = small_vae(Bernoulli(), rng), np.array([[0, 1, 1], [1, 0, 0]])
    check_parameter_grads(lambda: model.loss(x, rng=np.random.default_rng(3), k=k), model.parameters(), rng=rng)


class WrongEncoder(Module):
    """An encoder with 3 or 5 outputs, where 4 are needed."""

    def __init__(self, rng: np.random.Generator, outputs: int = 3) -> None:
        self.linear = Linear(3, outputs, rng)

    def __call__(self, x: TensorLike) -> Tensor:
        return self.linear(x)


BAD_INPUT: list[tuple[Any, str]] = [
    (lambda m, x, rng: m.elbo(x[:, :2], 1, rng), "x: expected shape"),
    (lambda m, x, rng: m.loss(x[:0], rng=rng), "x: expected one or more"),
    (lambda m, x, rng: m.elbo(x * np.nan, 1, rng), "x: expected finite"),
    (lambda m, x, rng: m.elbo(x + 7, 5, rng), r"x: expected integers 0…1 of shape \(\d+, 3\), got values 7…7"),
    (lambda m, x, rng: m.elbo(x * 1.0, 1, rng), r"x: expected integers 0…1 of shape \(\d+, 3\), got float64"),
    (lambda m, x, rng: m.log_prob(x.tolist(), 1, rng), "x: expected a NumPy array, got list"),
    (lambda m, x, rng: m.log_prob(None, 1, rng), "x: expected a NumPy array, got NoneType"),
    (lambda m, x, rng: VAE((4,), 2, m.encoder, m.decoder, Bernoulli()).sample(2, rng), "decoder: expected"),
    (lambda m, x, rng: m.iwae_bound(x, 0, rng), "k: expected at least 1"),
    (lambda m, x, rng: m.log_prob(x, 0, rng), "k: expected at least 1"),
    (lambda m, x, rng: m.log_prob(x, 2, rng, chunk_size=0), "chunk_size: expected at least 1"),
    (lambda m, x, rng: m.elbo(x, 1, rng, kl="exact"), "kl: expected 'analytic', 'monte_carlo' or None, got 'exact'"),
    (lambda m, x, rng: m.loss(x, rng=rng, k=5, beta=0.5), "beta, kl: expected the defaults with k = 5"),
    (lambda m, x, rng: m.sample(-1, rng), "n: expected at least 0"),
    (lambda m, x, rng: VAE((3,), 0, m.encoder, m.decoder, Bernoulli()), "latent: expected at least 1"),
    (
        lambda m, x, rng: VAE((3,), 2, m.encoder, m.decoder, Bernoulli(), prior=StandardNormal((3,))),
        r"prior: expected shape \(2,\)",
    ),
    (lambda m, x, rng: VAE((3,), 2, WrongEncoder(rng), m.decoder, Bernoulli()).elbo(x, 1, rng), "encoder: expected"),
    (  # no posterior flow would use the fifth
        lambda m, x, rng: VAE((3,), 2, WrongEncoder(rng, 5), m.decoder, Bernoulli()).elbo(x, 1, rng),
        r"encoder: expected output \(\d, 4\), got \(\d, 5\)",
    ),
    (lambda m, x, rng: VAE((3,), 2, m.encoder, m.decoder, Categorical(5)).elbo(x, 1, rng), "decoder: expected"),
]


def conditional_vae(rng: np.random.Generator) -> VAE:
    encoder = MLPEncoder((3,), 4, rng, hidden=(5,), context=2)
    decoder = MLPDecoder(2, (3, 2), rng, hidden=(5,), context=2)
    return randomise(VAE((3,), 2, encoder, decoder, Gaussian(), context=2), rng)


def test_conditional_vae_given_one_class_is_a_vae(rng: np.random.Generator) -> None:
    model, x, context = conditional_vae(rng), rng.normal(size=(4, 3)), np.eye(2)[[1, 1, 1, 1]]

    def encoder(x: TensorLike) -> Tensor:
        return model.encoder(x, context)

    def decoder(z: TensorLike) -> Tensor:
        return model.decoder(z, np.eye(2)[np.ones(len(array_of(z)), int)])

    plain = VAE((3,), 2, encoder, decoder, Gaussian())
    calls: list[Any] = [
        lambda vae, *c: vae.elbo(x, 3, np.random.default_rng(1), *c).value,
        lambda vae, *c: vae.iwae_bound(x, 3, np.random.default_rng(1), *c).value,
        lambda vae, *c: vae.loss(x, *c, rng=np.random.default_rng(1)).value,
        lambda vae, *c: vae.loss(x, *c, rng=np.random.default_rng(1), k=3).value,
        lambda vae, *c: vae.kl_per_dimension(x, *c).value,
        lambda vae, *c: vae.sample(4, np.random.default_rng(1), *c),
    ]
    for call in calls:
        np.testing.assert_allclose(call(model, context), call(plain), rtol=1e-12)
    np.testing.assert_allclose(
        model.log_prob(x, 7, np.random.default_rng(1), 3, context=context),
        plain.log_prob(x, 7, np.random.default_rng(1), 3),
        rtol=1e-12,
    )


def test_every_example_has_its_own_context(rng: np.random.Generator) -> None:
    model, x, context = conditional_vae(rng), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    check_conditional(lambda x, c: model.elbo(x, 3, np.random.default_rng(0), c), x, context, rng=rng)
    check_conditional(lambda x, c: model.kl_per_dimension(x, c), x, context, rng=rng)
    check_conditional(lambda x, c: model.sample(4, np.random.default_rng(0), c), x, context, rng=rng)
    check_grads(lambda c: model.elbo(x, 3, np.random.default_rng(0), c), context, rng=rng)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, r"expected shape \(4, 2\), got none"),
        (np.zeros((4, 3)), r"expected shape \(4, 2\), got \(4, 3\)"),
        (np.zeros((1, 2)), r"expected shape \(4, 2\), got \(1, 2\)"),
        (np.zeros(4, int), r"expected shape \(4, 2\), such as np\.eye\(2\)\[labels\]"),
        (np.full((4, 2), np.inf), "expected finite numbers"),
    ],
)
def test_rejects_invalid_context(context: Any, message: str, rng: np.random.Generator) -> None:
    model, x = conditional_vae(rng), rng.normal(size=(4, 3))
    invalid = pytest.raises(ValueError, match=f"^context: {message}")
    with invalid:
        model.loss(x, context, rng=rng)
    with invalid:
        model.sample(4, rng, context)
    with pytest.raises(ValueError, match=r"^context: expected none"):
        small_vae(Gaussian(), rng).sample(4, rng, np.zeros((4, 2)))


@pytest.mark.parametrize(("call", "message"), BAD_INPUT)
def test_rejects_invalid_input(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(small_vae(Bernoulli(), rng), np.zeros((2, 3), int), rng)


class Wide(StandardNormal):
    """N(0, 4 I)."""

    def log_prob(self, x: TensorLike) -> Tensor:
        return super().log_prob(array_of(x) / 2) - float(np.log(2)) * self.shape[0]


def test_a_subclass_of_the_standard_normal_has_another_kl(rng: np.random.Generator) -> None:
    vae = small_vae(Bernoulli(), rng)
    vae.prior = Wide((vae.latent,))
    with pytest.raises(ValueError, match=r"kl: expected 'monte_carlo'"):
        vae.elbo(np.zeros((2, *vae.shape), int), 1, rng, kl="analytic")
