"""Variational autoencoder (VAE): a latent variable z with a prior p(z), a decoder p(x|z) and an encoder q(z|x).

    p(x) = ∫ p(x|z) p(z) dz          intractable: estimated by importance sampling with samples from q(z|x)

    wᵢ = p(x|zᵢ) p(zᵢ) / q(zᵢ|x),    zᵢ ~ q(z|x)

    ELBO   = E ln w  =  E_q ln p(x|z) − KL(q(z|x) ‖ p(z))  ≤  ln p(x)
    IWAE_k = E ln 1/k Σᵢ wᵢ                                ≤  ln p(x), and increases to it with k

A conditional VAE is a model of p(x|c): the encoder and the decoder are also given a context c, such as a one-hot class
label, and the prior does not depend on it. All equations hold for each c.

Gradients pass through the samples by the reparameterisation trick (reparameterised_posterior.py); a posterior flow may
transform them further. The prior may also be a flow, which is then trained together with the networks.

Source: Kingma & Welling, "Auto-encoding variational Bayes", 2014; Burda, Grosse & Salakhutdinov, "Importance weighted
autoencoders", 2016; Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016; Sohn, Lee &
Yan, "Learning structured output representation using deep conditional generative models", 2015, for the context.
Checked by: tests/models/latent/test_vae.py
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd import Array, Tensor, TensorLike, broadcast_to, logsumexp, no_grad, reshape
from ...autograd.tensor import array_of
from ...bijections import Bijection
from ...bijections.bijection import Context
from ...checks import as_finite, as_integers, as_number, at_least, check_context, check_event, require
from ...distributions import Distribution, Likelihood, StandardNormal, event_log_prob
from ...distributions.distribution import mean_loss
from ...nn import Module
from .reparameterised_posterior import Posterior

Rng = np.random.Generator


class VAE(Module):
    """A variational autoencoder, trained by the ELBO or by the IWAE bound.

    Args:
        encoder: maps x (N, *shape) to (N, 2·latent + C): mean and log-scale of q(z|x), context of the posterior flow.
        decoder: maps z (N, latent) to the parameters of p(x|z), (N, *shape, output.width).
        output: distribution of one variable of x given the decoder's output.
        prior: distribution of z, N(0, I) by default.
        posterior_flow: bijection whose `inverse(z, code)` transforms z ~ N(mean, scale²), such as that of IAF.
        context: size S of the context vector, with which the networks are called as encoder(x, context) and
            decoder(z, context); 0 for an unconditional model.

    Shapes: x (N, *shape), context (N, S), bounds (N,) in nats.
    Raises: ValueError if x or the context is not finite or has the wrong shape, or if the output of a network does.

    Example:
        >>> from tinygen.distributions import Bernoulli
        >>> from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
        >>> rng = np.random.default_rng(0)
        >>> vae = VAE((8,), 2, MLPEncoder((8,), 4, rng), MLPDecoder(2, (8, 1), rng), Bernoulli())
        >>> x = vae.sample(5, rng)
        >>> vae.elbo(x, k=1, rng=rng).shape, vae.loss(x, rng=rng).shape
        ((5,), ())
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int,
        encoder: Callable[..., Tensor],
        decoder: Callable[..., Tensor],
        output: Likelihood,
        *,
        prior: Distribution[TensorLike] | None = None,
        posterior_flow: Bijection | None = None,
        context: int = 0,
    ) -> None:
        at_least(1, latent=latent)
        at_least(0, context=context)
        self.context = context
        self.shape, self.latent, self.output = tuple(shape), latent, output
        self.encoder, self.decoder = encoder, decoder
        self.prior: Distribution[TensorLike] = StandardNormal((latent,)) if prior is None else prior
        self.posterior_flow = posterior_flow
        require(self.prior.shape == (latent,), "prior", f"shape ({latent},)", self.prior.shape)

    def posterior(self, x: Array, context: Context = None) -> Posterior:
        """Encode x (N, *shape) as the parameters of q(z|x)."""
        v = as_finite("x", x, self.shape, self.dtype)
        if levels := getattr(self.output, "levels", 0):
            as_integers("x", x, (len(x), *self.shape), levels)
        code, d = self.encoder(v, *self._checked(context, len(x))), self.latent  # (N, 2d + C)
        fits = code.ndim == 2 and code.shape[0] == len(x)
        fits = fits and (code.shape[1] == 2 * d or (code.shape[1] > 2 * d and self.posterior_flow is not None))
        wanted = f"{2 * d}{'' if self.posterior_flow is None else ' or more'}"
        require(fits, "encoder", f"output ({len(x)}, {wanted})", code.shape)
        return Posterior(code[:, :d], code[:, d : 2 * d], code[:, 2 * d :] if code.shape[1] > 2 * d else None)

    def sample_posterior(self, q: Posterior, k: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Draw k reparameterised samples z ~ q(z|x) per example: z (k, N, latent), ln q(z|x) (k, N)."""
        return q.sample(k, rng, self.posterior_flow)

    def log_likelihood(self, x: Array, z: Tensor, context: Context = None) -> Tensor:
        """Return ln p(x|z) in nats: x (N, *shape), z (k, N, latent), result (k, N)."""
        (k, n, d), size = z.shape if z.ndim == 3 else (0, 0, 0), self.context
        require((n, d) == (len(x), self.latent), "z", f"shape (k, {len(x)}, {self.latent})", z.shape)
        check_event("x", x, self.shape)
        each = [reshape(broadcast_to(c, (k, n, size)), (k * n, size)) for c in self._checked(context, n)]
        parameters = self._decode(z.reshape(k * n, d), *each)  # (kN, *shape, width)
        if levels := getattr(self.output, "levels", 0):  # in the smallest type, as it is repeated
            x = as_integers("x", x, (n, *self.shape), levels).astype(np.min_scalar_type(levels - 1), copy=False)
        elif x.dtype.kind == "f":
            x = x.astype(self.dtype, copy=False)  # float64 data would promote a float32 network
        repeated = np.broadcast_to(x, (k, *x.shape)).reshape(k * n, *self.shape)
        return event_log_prob(self.output, parameters, repeated).reshape(k, n)

    def log_weights(self, x: Array, k: int, rng: Rng, context: Context = None) -> Tensor:
        """Return the log importance weights ln p(x|zᵢ) + ln p(zᵢ) − ln q(zᵢ|x) of k samples per example, (k, N)."""
        z, log_q = self.sample_posterior(self.posterior(x, context), k, rng)
        return self.log_likelihood(x, z, context) + self._log_prior(z) - log_q

    def kl_per_dimension(self, x: Array, context: Context = None) -> Tensor:
        """Return KL(q(zᵢ|x) ‖ N(0, 1)) of each latent variable in nats, (N, latent); about 0 for a collapsed one.

        Raises: ValueError with a posterior flow or a prior other than N(0, I): there is no closed form.
        """
        return self._closed_kl(self.posterior(x, context))

    def elbo(
        self, x: Array, k: int, rng: Rng, context: Context = None, *, kl: str | None = None, beta: float = 1.0
    ) -> Tensor:
        """Estimate E_q ln p(x|z) − β KL(q ‖ p) from k samples per example, (N,); for β = 1, a lower bound on ln p(x).

        The KL term is computed in closed form (kl="analytic") or estimated from the same samples (kl="monte_carlo");
        by default in closed form if there is one.
        """
        require(kl in (None, "analytic", "monte_carlo"), "kl", "'analytic', 'monte_carlo' or None", repr(kl))
        require(math.isfinite(beta), "beta", "a finite number", beta)
        q = self.posterior(x, context)
        z, log_q = self.sample_posterior(q, k, rng)
        analytic = self._has_closed_kl() if kl is None else kl == "analytic"
        kl_term = self._closed_kl(q).sum(-1) if analytic else (log_q - self._log_prior(z)).mean(0)  # (N,)
        return self.log_likelihood(x, z, context).mean(0) - as_number(beta) * kl_term

    def iwae_bound(self, x: Array, k: int, rng: Rng, context: Context = None) -> Tensor:
        """Return ln 1/k Σᵢ wᵢ from k samples per example, (N,): in expectation a lower bound on ln p(x), in nats."""
        return logsumexp(self.log_weights(x, k, rng, context), 0) - math.log(k)

    def log_prob(self, x: Array, k: int, rng: Rng, chunk_size: int = 100, *, context: Context = None) -> Array:
        """Estimate ln p(x) in nats by importance sampling with k samples per example, (N,).

        Equals `iwae_bound` without gradients, in bounded memory: `chunk_size` samples are evaluated at a time. The
        estimate is biased downwards; the bias vanishes as k grows.
        """
        at_least(1, k=k, chunk_size=chunk_size)
        total: Any = np.float64(-np.inf)
        with no_grad():
            for start in range(0, k, chunk_size):
                weights = self.log_weights(x, min(chunk_size, k - start), rng, context)
                total = np.logaddexp(total, logsumexp(weights, 0).value)
        return np.asarray(total - math.log(k))

    def loss(
        self, x: Array, context: Context = None, *, rng: Rng, k: int = 1, beta: float = 1.0, kl: str | None = None
    ) -> Tensor:
        """Return the mean of −ELBO (k = 1) or −IWAE_k (k > 1) in nats; increase β from 0 to 1 for a KL warm-up."""
        if k > 1 and (beta != 1 or kl is not None):
            raise ValueError(f"beta, kl: expected the defaults with k = {k}; the IWAE bound has no separate KL term")
        return mean_loss(
            -(self.elbo(x, k, rng, context, kl=kl, beta=beta) if k == 1 else self.iwae_bound(x, k, rng, context))
        )

    def sample(self, n: int, rng: Rng, context: Context = None) -> Array:
        """Draw n examples (n, *shape): z from the prior, then x from p(x|z)."""
        at_least(0, n=n)
        with no_grad():
            z = self.prior.sample(n, rng).astype(self.dtype)
            return self.output.sample(self._decode(z, *self._checked(context, n)), rng)

    def _checked(self, context: Context, n: int) -> list[TensorLike]:
        """Return the context (n, S) as the list of a network's further arguments: one or none."""
        check_context(context, n, self.context)
        return [] if context is None else [as_finite("context", context, (self.context,), self.dtype)]

    def _decode(self, z: TensorLike, *context: TensorLike) -> Tensor:
        parameters, expected = self.decoder(z, *context), (len(array_of(z)), *self.shape, self.output.width)
        require(parameters.shape == expected, "decoder", f"output {expected}", parameters.shape)
        return parameters

    def _log_prior(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z.reshape(-1, self.latent)).reshape(*z.shape[:2])

    def _has_closed_kl(self) -> bool:
        return self.posterior_flow is None and type(self.prior) is StandardNormal  # not a subclass

    def _closed_kl(self, q: Posterior) -> Tensor:
        if not self._has_closed_kl():
            raise ValueError("kl: expected 'monte_carlo' with a posterior flow or a prior other than N(0, I)")
        return q.kl()
