"""The reparameterised Gaussian posterior q(z|x) = N(μ(x), diag σ(x)²): samples with a gradient, and a closed-form KL.

    z = μ + σ ε,  ε ~ N(0, I)            ∂z/∂μ = 1,  ∂z/∂σ = ε: the noise does not depend on the parameters
    ln q(z|x) = Σᵢ ln N(εᵢ; 0, 1) − ln σᵢ        a posterior flow z′ = f(z) subtracts ln|det ∂f/∂z|
    KL(q(zᵢ|x) ‖ N(0, 1)) = ½ (σᵢ² + μᵢ² − 1) − ln σᵢ

Source: Kingma & Welling, "Auto-encoding variational Bayes", 2014, section 2.4 and appendix B; Kingma et al., "Improved
variational inference with inverse autoregressive flow", 2016.
Checked by: tests/models/latent/test_vae.py
"""

from typing import NamedTuple

import numpy as np

from ...arguments import explained
from ...autograd import Tensor, broadcast_to, exp, log_normal
from ...bijections import Bijection
from ...checks import at_least


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) before the posterior flow, and the context of the flow."""

    mean: Tensor  # (N, latent)
    log_scale: Tensor  # (N, latent)
    context: Tensor | None  # (N, C)

    @explained
    def sample(self, k: int, rng: np.random.Generator, flow: Bijection | None = None) -> tuple[Tensor, Tensor]:
        """Draw k reparameterised samples z ~ q(z|x) per example: z (k, N, latent), ln q(z|x) (k, N)."""
        at_least(1, k=k)
        n, d = self.mean.shape
        noise = rng.standard_normal((k, n, d)).astype(self.mean.dtype)
        z = self.mean + exp(self.log_scale) * noise  # (k, N, d)
        log_q = log_normal(noise).sum(-1) - self.log_scale.sum(-1)  # (k, N)
        if flow is None:
            return z, log_q
        c = self.context
        context = None if c is None else broadcast_to(c, (k, *c.shape)).reshape(k * n, c.shape[1])
        z, log_det = flow.inverse(z.reshape(k * n, d), context)  # (kN, d), (kN,)
        return z.reshape(k, n, d), log_q - log_det.reshape(k, n)

    def kl(self) -> Tensor:
        """Return KL(q(zᵢ|x) ‖ N(0, 1)) of each latent variable in nats, (N, latent), without a posterior flow."""
        return 0.5 * (exp(2 * self.log_scale) + self.mean * self.mean - 1) - self.log_scale
