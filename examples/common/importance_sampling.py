"""Importance-sampling estimates of ln p(x) for a VAE, with z drawn from q(z|x) and from the prior."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tinygen import no_grad
from tinygen.autograd import Array, Tensor
from tinygen.models import VAE

MAX_BIAS = 0.025  # nats; with a larger bias the two estimates cannot be compared


class Comparison(NamedTuple):
    """Repeated estimates: column 0 with z drawn from q(z|x), column 1 with z drawn from the prior.

    Shapes: log_p (repeats, 2), the mean of ln p̂ over images; log_variance (repeats, 2), the mean of log₁₀(Var w / p̂²).
    """

    log_p: Array
    log_variance: Array
    k: int

    @classmethod
    def measure(cls, model: VAE, x: Array, rng: np.random.Generator, k: int, repeats: int) -> Comparison:
        """Compute both estimates `repeats` times, with k samples of z for each image of x (N, *shape)."""
        runs = np.array([[_estimate(model, x, rng, k, prior) for prior in (False, True)] for _ in range(repeats)])
        return cls(runs[..., 0], runs[..., 1], k)

    @property
    def gap(self) -> tuple[float, float]:
        """The estimate from q minus the estimate from the prior, and its standard error, in nats."""
        gaps = self.log_p[:, 0] - self.log_p[:, 1]
        return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))

    @property
    def bias(self) -> float:
        """The approximate downward bias of ln p̂, Var w / 2kp², in nats; the larger of the two."""
        return float((10 ** self.log_variance.mean(0)).max() / (2 * self.k))

    @property
    def agree(self) -> bool | None:
        """Whether |gap| < 4 standard errors + bias; None if the bias is not below MAX_BIAS."""
        gap, error = self.gap
        return abs(gap) < 4 * error + self.bias if self.bias < MAX_BIAS else None

    @property
    def log_ratios(self) -> Array:
        """log₁₀ of the weight variance with the prior over that with q, (repeats,)."""
        return self.log_variance[:, 1] - self.log_variance[:, 0]

    def __str__(self) -> str:
        q, prior = self.log_p.mean(0)
        text = f"ln p̂ {q:.3f} from q, {prior:.3f} from the prior, gap {self.gap[0]:.3f} ± {self.gap[1]:.3f}"
        text += " (bias too large to judge)" if self.agree is None else f" (allowed {4 * self.gap[1] + self.bias:.3f})"
        return f"{text}; variance ratio prior/q {10 ** self.log_ratios.mean():,.1f}"


def verdict(results: Collection[Comparison]) -> str:
    """Return whether all comparable estimates agree and the prior always has the larger variance, as text."""
    agree = [each.agree for each in results if each.agree is not None]
    larger = [bool(each.log_ratios.min() > 0) for each in results]
    word = "reproduced" if agree and all(agree) and all(larger) else "not reproduced"
    return (
        f"{word}; the estimates agree for {sum(agree)} of the {len(agree)} models where the bias is small enough; "
        f"the variance with z from the prior is larger in every repeat for {sum(larger)} of {len(larger)} models"
    )


def _estimate(model: VAE, x: Array, rng: np.random.Generator, k: int, from_prior: bool) -> tuple[float, float]:
    log_w = np.empty((k, len(x)))
    with no_grad():
        for part in np.split(log_w, 10):  # in ten parts to bound memory
            z = rng.standard_normal((len(part), len(x), model.latent), np.float32)
            part[:] = (model.log_likelihood(x, Tensor(z)) if from_prior else model.log_weights(x, len(part), rng)).value
    w = np.exp(log_w - (top := log_w.max(0)))
    return float((np.log(w.mean(0)) + top).mean()), float(np.log10(w.var(0) / w.mean(0) ** 2).mean())
