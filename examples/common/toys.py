"""Densities in the plane with known entropies: how a flow is fitted to one, and how far above that floor it stays."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygen import Tensor, no_grad
from tinygen.data import Checkerboard, ToyDensity, TwoMoons, eight_gaussians
from tinygen.nn import Module
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

Array: TypeAlias = NDArray[Any]

TOYS: list[Callable[[], ToyDensity]] = [Checkerboard, eight_gaussians, TwoMoons]
DENSITIES = dict(zip(("checkerboard", "eight_gaussians", "two_moons"), TOYS, strict=True))


def train(
    model: Module,
    loss: Callable[[Array], Tensor],
    toy: ToyDensity,
    rng: np.random.Generator,
    *,
    steps: int,
    lr: float,
    batch: int = 512,
    clip: float = 10.0,
) -> None:
    """Descend on the loss of draws (batch, 2) in float32, fresh at every step: there is nothing to overfit."""
    parameters = model.parameters()
    fit(
        lambda counted, rng: loss(toy.sample(len(counted), rng).astype(np.float32)),
        model,
        np.zeros(batch),  # only counted
        optimizer=Adam(parameters, cosine(lr, steps, warmup=steps // 20)),
        batch_size=batch,
        rng=rng,
        steps=steps,
        ema=EMA(parameters, 0.99),
        clip=clip,
        unit="nats per point",
    )


def gap(
    log_prob: Callable[[Array], Tensor], toy: ToyDensity, rng: np.random.Generator, n: int = 20_000
) -> tuple[float, float]:
    """Return KL(p‖q) in nats per point and its standard error, as the mean of ln p(x) − ln q(x) over n draws of p.

    Raises AssertionError where it is negative beyond that: no density is below the entropy, so log_prob is none.
    """
    x = toy.sample(n, rng)
    with no_grad():
        each = toy.log_prob(x) - log_prob(x.astype(np.float32)).value
    mean, error = float(each.mean()), float(each.std() / math.sqrt(n))
    if mean < -5 * error:
        raise AssertionError(f"gap: {mean:.4f} ± {error:.4f} nats, below the entropy: the log_prob must be wrong")
    return mean, error
