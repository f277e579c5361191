"""Two-dimensional densities of known entropy: training a flow on one, and measuring its KL divergence."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from common.training import Training
from numpy.typing import NDArray

from tinygen import Tensor, no_grad
from tinygen.data import Checkerboard, ToyDensity, TwoMoons, eight_gaussians
from tinygen.nn import Module
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

Array: TypeAlias = NDArray[Any]

DENSITIES: dict[str, Callable[[], ToyDensity]] = {
    "checkerboard": Checkerboard,
    "eight_gaussians": eight_gaussians,
    "two_moons": TwoMoons,
}


def density_of(setting: str) -> ToyDensity:
    """Return the density that a setting begins with, such as two_moons in "two_moons, affine"."""
    return DENSITIES[setting.split(", ")[0]]()


def train_flow(
    run: Training,
    model: Module,
    loss: Callable[[Array], Tensor],
    toy: ToyDensity,
    *,
    lr: float,
    batch: int = 512,
    clip: float = 10.0,
) -> None:
    """Minimise loss(x) on a fresh batch x (batch, 2) of float32 samples at every step, so overfitting is impossible."""
    parameters = model.parameters()
    fit(
        lambda placeholder, rng: loss(toy.sample(len(placeholder), rng).astype(np.float32)),
        model,
        np.zeros(batch),  # a placeholder: only its length is used
        optimizer=Adam(parameters, cosine(lr, run.steps, warmup=run.steps // 20)),
        batch_size=batch,
        rng=run.rng(1),
        ema=EMA(parameters, 0.99),
        clip=clip,
        unit="nats per point",
        **run.options(),
    )


def kl_divergence(
    log_prob: Callable[[Array], Tensor], toy: ToyDensity, rng: np.random.Generator, n: int = 20_000
) -> float:
    """Estimate KL(p‖q) = E_p[ln p(x) − ln q(x)] from n samples, in nats per point.

    Raises: AssertionError if the estimate is more than five standard errors below zero; log_prob is then wrong.
    """
    x = toy.sample(n, rng)
    with no_grad():
        log_ratio = toy.log_prob(x) - log_prob(x.astype(np.float32)).value
    mean, error = float(log_ratio.mean()), float(log_ratio.std() / math.sqrt(n))
    if mean < -5 * error:
        raise AssertionError(f"KL: expected ≥ 0, got {mean:.4f} ± {error:.4f} nats; log_prob is not a log-density")
    return mean
