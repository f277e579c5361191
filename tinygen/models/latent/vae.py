"""Variational autoencoder, and the importance-weighted bound on the same model: a latent code z and a decoder p(x|z).

    p(x) = ∫ p(x|z) p(z) dz          intractable, so an encoder q(z|x) proposes codes, with weights

    wᵢ = p(x|zᵢ) p(zᵢ) / q(zᵢ|x),    zᵢ ~ q(z|x)

    ELBO   = E ln w  =  E_q ln p(x|z) − KL(q(z|x) ‖ p(z))  ≤  ln p(x)
    IWAE_k = E ln 1/k Σᵢ wᵢ                                ≤  ln p(x), and rises to it with k

Codes are reparameterised, z = μ(x) + σ(x) ε with ε ~ N(0, I), so that gradients pass through them. A posterior flow
bends them further; a prior that is a flow is learned along.

Source: Kingma & Welling, "Auto-encoding variational Bayes", 2014; Burda, Grosse & Salakhutdinov, "Importance weighted
autoencoders", 2016; Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016.
Checked by: tests/models/latent/test_vae.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...autograd import Array, Tensor, TensorLike, broadcast_to, exp, log_normal, logsumexp, no_grad
from ...autograd.tensor import array_of
from ...bijections import Bijection
from ...checks import as_finite, as_levels, at_least
from ...distributions import Distribution, Likelihood, StandardNormal, event_log_prob
from ...nn import Module

Rng = np.random.Generator


class Posterior(NamedTuple):
    """q(z|x) before the flow: a Gaussian of independent numbers, (N, latent) each; what the flow is told, (N, C)."""

    mean: Tensor
    log_scale: Tensor
    context: Tensor | None


class VAE(Module):
    """A latent-variable model with an encoder, both networks given.

    encoder: x (N, *shape) in the parameters' dtype to (N, 2·latent + C), mean and log-scale of q(z|x) and C numbers
    that a posterior flow is told. decoder: codes (N, latent) to (N, *shape, output.width), the parameters of p(x|z).
    Both kinds are in `tinygen.nn.networks`.
    posterior_flow: a bijection whose `inverse(z, context)` takes noise to codes, as in a flow; an IAF's is fast.

    Shapes: x (N, *shape), bounds (N,) in nats per example. Raises ValueError, naming the argument, if x has another
    shape, or is empty or not finite; if k is below 1; if the networks' shapes do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int,
        encoder: Callable[[TensorLike], Tensor],
        decoder: Callable[[TensorLike], Tensor],
        output: Likelihood,
        *,
        prior: Distribution[TensorLike] | None = None,
        posterior_flow: Bijection | None = None,
    ) -> None:
        at_least(1, latent=latent)
        self.shape, self.latent, self.output = tuple(shape), latent, output
        self.encoder, self.decoder = encoder, decoder
        self.prior: Distribution[TensorLike] = StandardNormal((latent,)) if prior is None else prior
        self.posterior_flow = posterior_flow
        if self.prior.shape != (latent,):
            raise ValueError(f"prior: expected shape ({latent},), got {self.prior.shape}")

    def posterior(self, x: Array) -> Posterior:
        """Encode x (N, *shape): the Gaussian that codes are drawn from, and the context of the posterior flow."""
        v = as_finite("x", x, self.shape, self.dtype)
        if not len(x):
            raise ValueError(f"x: expected one or more examples, got shape {x.shape}")
        levels = getattr(self.output, "levels", None)
        if levels is not None:
            as_levels(x, self.shape, levels)
        code = self.encoder(v)
        d = self.latent
        if code.shape[0] != len(x) or code.ndim != 2 or code.shape[1] < 2 * d:
            raise ValueError(f"encoder: expected ({len(x)}, {2 * d} or more) for latent {d}, got {code.shape}")
        return Posterior(code[:, :d], code[:, d : 2 * d], code[:, 2 * d :] if code.shape[1] > 2 * d else None)

    def draw_codes(self, q: Posterior, k: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Draw z ~ q(z|x), k for each example, as a function of the encoder: z (k, N, latent), ln q(z|x) (k, N)."""
        at_least(1, k=k)
        n, d = q.mean.shape
        noise = rng.standard_normal((k, n, d)).astype(q.mean.dtype)
        z = q.mean + exp(q.log_scale) * noise
        log_q = log_normal(noise).sum(-1) - q.log_scale.sum(-1)
        if self.posterior_flow is None:
            return z, log_q
        context = None if q.context is None else broadcast_to(q.context, (k, *q.context.shape)).reshape(k * n, -1)
        z, log_det = self.posterior_flow.inverse(z.reshape(k * n, d), context)
        return z.reshape(k, n, d), log_q - log_det.reshape(k, n)

    def log_likelihood(self, x: Array, z: Tensor) -> Tensor:
        """ln p(x|z) in nats: x (N, *shape), z (k, N, latent), result (k, N)."""
        k, n, d = z.shape
        parameters = self._decoded(z.reshape(k * n, d))
        repeated = np.broadcast_to(x, (k, *x.shape)).reshape(k * n, *self.shape)
        return event_log_prob(self.output, parameters, repeated).reshape(k, n)

    def log_weights(self, x: Array, k: int, rng: Rng) -> Tensor:
        """ln wᵢ = ln p(x|zᵢ) + ln p(zᵢ) − ln q(zᵢ|x) for k codes of each example: (k, N)."""
        z, log_q = self.draw_codes(self.posterior(x), k, rng)
        return self.log_likelihood(x, z) + self._log_prior(z) - log_q

    def kl_per_dimension(self, x: Array) -> Tensor:
        """KL of q(zᵢ|x) from N(0, 1) for each latent number, (N, latent) in nats: about 0 where it has collapsed.

            KL = ½ (σ² + μ² − 1) − ln σ

        Raises ValueError where there is no such closed form: with a posterior flow, or under another prior.
        """
        return self._closed_kl(self.posterior(x))

    def elbo(self, x: Array, k: int, rng: Rng, *, kl: str | None = None, beta: float = 1.0) -> Tensor:
        """E_q ln p(x|z) − β KL(q ‖ p), estimated from k codes: (N,), for β = 1 a lower bound of ln p(x) in nats.

        kl: "analytic" or "monte_carlo", which is the same in expectation; by default analytic where there is a closed
        form.
        """
        if kl not in (None, "analytic", "monte_carlo"):
            raise ValueError(f"kl: expected 'analytic', 'monte_carlo' or None, got {kl!r}")
        q = self.posterior(x)
        z, log_q = self.draw_codes(q, k, rng)
        analytic = self._has_closed_kl() if kl is None else kl == "analytic"
        divergence = self._closed_kl(q).sum(-1) if analytic else (log_q - self._log_prior(z)).mean(0)
        return self.log_likelihood(x, z).mean(0) - beta * divergence

    def iwae_bound(self, x: Array, k: int, rng: Rng) -> Tensor:
        """ln 1/k Σᵢ wᵢ from k codes of each example: (N,), in expectation a lower bound of ln p(x) in nats."""
        return logsumexp(self.log_weights(x, k, rng), 0) - math.log(k)

    def log_prob(self, x: Array, k: int, rng: Rng, at_once: int = 100) -> Array:
        """Estimate ln p(x) in nats by importance sampling with k codes of each example, so many at once: (N,).

        It is `iwae_bound`, without derivatives and in bounded memory; its bias vanishes as k grows.
        """
        at_least(1, k=k, at_once=at_once)
        total: Any = np.float64(-np.inf)
        with no_grad():
            for start in range(0, k, at_once):
                weights = self.log_weights(x, min(at_once, k - start), rng)
                total = np.logaddexp(total, logsumexp(weights, 0).value)
        return np.asarray(total - math.log(k))

    def loss(self, x: Array, *, rng: Rng, k: int = 1, beta: float = 1.0, kl: str | None = None) -> Tensor:
        """Mean of −ELBO (k = 1; a β that rises from 0 to 1 is a KL warm-up), or of −IWAE_k, in nats per example."""
        if k > 1 and (beta != 1 or kl is not None):
            raise ValueError(
                f"beta, kl: expected none with k = {k}; the importance-weighted bound has no KL of its own"
            )
        return -(self.elbo(x, k, rng, kl=kl, beta=beta) if k == 1 else self.iwae_bound(x, k, rng)).mean()

    def sample(self, n: int, rng: Rng) -> Array:
        """Draw n examples (n, *shape): a code from the prior, then every variable from p(x|z)."""
        at_least(0, n=n)
        with no_grad():
            z = self.prior.sample(n, rng).astype(self.dtype)
            return self.output.sample(self._decoded(z), rng)

    def _decoded(self, z: TensorLike) -> Tensor:
        parameters, codes = self.decoder(z), array_of(z).shape
        wanted = (codes[0], *self.shape, self.output.width)
        if parameters.shape != wanted:
            raise ValueError(f"decoder: expected {wanted} of codes {codes}, got {parameters.shape}")
        return parameters

    def _log_prior(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z.reshape(-1, self.latent)).reshape(*z.shape[:2])

    def _has_closed_kl(self) -> bool:
        return self.posterior_flow is None and isinstance(self.prior, StandardNormal)

    def _closed_kl(self, q: Posterior) -> Tensor:
        if not self._has_closed_kl():
            raise ValueError("kl: expected 'monte_carlo' with a posterior flow or a prior that is not N(0, I)")
        return 0.5 * (exp(2 * q.log_scale) + q.mean * q.mean - 1) - q.log_scale
