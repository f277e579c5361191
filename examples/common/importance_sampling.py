"""Importance-sampling estimates of ln p(x) for a VAE, with z drawn from q(z|x) and from the prior."""

from __future__ import annotations

import numpy as np

from tinygen import no_grad
from tinygen.autograd import Array, Tensor
from tinygen.models import VAE

MAX_BIAS = 0.025  # nats; with a larger bias the two estimates cannot be compared


def estimates(model: VAE, x: Array, rng: np.random.Generator, k: int) -> dict[str, float | Array]:
    """Estimate ln p(x) with z drawn from q(z|x) and from the prior, k samples for each image of x (N, *shape).

    Returns means over the images: ln p̂ and log₁₀(Var w / p̂²) of both estimates, the gap, which is the estimate from q
    minus that from the prior, and the approximate bias of ln p̂, Var w / 2kp², of the worse one. All in nats.
    """
    (log_p_q, variance_q), (log_p_prior, variance_prior) = (_estimate(model, x, rng, k, prior) for prior in (0, 1))
    return {
        "log_p_q": log_p_q,
        "log_p_prior": log_p_prior,
        "gap": log_p_q - log_p_prior,
        "log_variance_q": variance_q,
        "log_variance_prior": variance_prior,
        "bias": 10 ** max(variance_q, variance_prior) / (2 * k),
    }


def _estimate(model: VAE, x: Array, rng: np.random.Generator, k: int, from_prior: int) -> tuple[float, float]:
    log_w = np.empty((k, len(x)))
    with no_grad():
        for part in np.split(log_w, 10):  # in ten parts to bound memory
            z = rng.standard_normal((len(part), len(x), model.latent), np.float32)
            part[:] = (model.log_likelihood(x, Tensor(z)) if from_prior else model.log_weights(x, len(part), rng)).value
    w = np.exp(log_w - (top := log_w.max(0)))
    return float((np.log(w.mean(0)) + top).mean()), float(np.log10(w.var(0) / w.mean(0) ** 2).mean())
