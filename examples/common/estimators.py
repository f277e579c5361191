"""Two estimates of ln p(x) by importance sampling, of codes from q(z|x) and from the prior: is it the same number?"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tinygen import no_grad
from tinygen.autograd import Array, Tensor
from tinygen.models import VAE

JUDGED = 0.025  # nats


class Compared(NamedTuple):
    """Repeats of both, (repeats, 2), from q and from the prior: mean over images of ln p̂, and of log₁₀(Var w / p̂²)."""

    log_p: Array
    log_variance: Array
    k: int

    @classmethod
    def of(cls, model: VAE, x: Array, rng: np.random.Generator, k: int, repeats: int) -> Compared:
        """Estimate with k codes for each image of x (N, *shape), so many times."""
        turns = np.array([[_estimate(model, x, rng, k, prior) for prior in (False, True)] for _ in range(repeats)])
        return cls(turns[..., 0], turns[..., 1], k)

    @property
    def gap(self) -> tuple[float, float]:
        """By how many nats the prior's estimate is lower, and the standard error of that."""
        gaps = self.log_p[:, 0] - self.log_p[:, 1]
        return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))

    @property
    def bias(self) -> float:
        """By how many nats ln p̂ is too low, about: Var w / 2kp², of the worse of both."""
        return float((10 ** self.log_variance.mean(0)).max() / (2 * self.k))

    @property
    def agree(self) -> bool | None:
        """Whether the gap is no more than its error and the bias explain; None where the bias is too large to tell."""
        gap, error = self.gap
        return abs(gap) < 4 * error + self.bias if self.bias < JUDGED else None

    @property
    def ratios(self) -> Array:
        """Of each repeat, by how many decades a weight's variance is larger from the prior: (repeats,)."""
        return self.log_variance[:, 1] - self.log_variance[:, 0]

    def __str__(self) -> str:
        q, prior = self.log_p.mean(0)
        told = f"ln p̂ {q:.3f} from q, {prior:.3f} from the prior, gap {self.gap[0]:.3f} ± {self.gap[1]:.3f}"
        judged = " (not judged)" if self.agree is None else f" (allowed {4 * self.gap[1] + self.bias:.3f})"
        return f"{told}{judged}; variance {10 ** self.ratios.mean():,.1f} × as large"


def verdict(found: Collection[Compared]) -> str:
    """Say whether both estimate one ln p(x) in all cases that are judged, the prior with more variance in all cases."""
    agree = [each.agree for each in found if each.agree is not None]
    larger = [bool(each.ratios.min() > 0) for each in found]
    word = "reproduced" if agree and all(agree) and all(larger) else "not reproduced"
    one = f"one ln p(x) in {sum(agree)} of {len(agree)} cases that are judged"
    return f"{word}; {one}, more variance from the prior in all repeats in {sum(larger)} of {len(larger)}"


def _estimate(model: VAE, x: Array, rng: np.random.Generator, k: int, from_prior: bool) -> tuple[float, float]:
    log_w = np.empty((k, len(x)))
    with no_grad():
        for part in np.split(log_w, 10):  # in bounded memory
            z = rng.standard_normal((len(part), len(x), model.latent), np.float32)
            part[:] = (model.log_likelihood(x, Tensor(z)) if from_prior else model.log_weights(x, len(part), rng)).value
    w = np.exp(log_w - (top := log_w.max(0)))
    return float((np.log(w.mean(0)) + top).mean()), float(np.log10(w.var(0) / w.mean(0) ** 2).mean())
