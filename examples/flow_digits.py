"""The 8×8 digits as flows see them: dequantised, carried to the reals, and measured in bits per dimension.

    −ln P(k) ≤ E_u[−ln p(k + u)],   u ~ U[0, 1)⁶⁴      bits/dim = nats / (64 ln 2)

so a density of k + u bounds the probability of the levels k from below, and all numbers are of one scale.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tinygen import no_grad
from tinygen.autograd import Tensor
from tinygen.bijections import Affine, Chain, Flow, Logit
from tinygen.data import digits
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

LEVELS = 17
DIMENSIONS = 64


def dequantised(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add uniform noise to levels 0…16, drawn anew whenever it is asked for."""
    # float32 may round 16.9999… up to 17, which is still within what Logit takes.
    return (pixels + rng.random(pixels.shape)).astype(np.float32)


def on_levels(flow: Flow) -> Flow:
    """Let a flow of real images (8, 8, 1) be one of images k + u in [0, 17], by a logit with a margin of 5 %."""
    chain = Chain(Affine(np.float32(1 / LEVELS)), Logit(0.05), flow.bijection)
    return Flow(chain, flow.base, flow.shape)


def bits_per_dim(flow: Flow, pixels: NDArray[np.uint8], rng: np.random.Generator, draws: int = 4) -> float:
    """Estimate the bound by several draws of the noise for every image."""
    with no_grad():
        nats = [-flow.log_prob(dequantised(pixels, rng)).value.astype(float).mean() for _ in range(draws)]
    return float(np.mean(nats)) / (DIMENSIONS * math.log(2))


def split(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return training images, the tenth that is held out of them, and the test images."""
    train, test = digits("train").pixels, digits("test").pixels
    order = rng.permutation(len(train))
    return train[order[:-144]], train[order[-144:]], test


def train(flow: Flow, fitted: NDArray[np.uint8], held_out: NDArray[np.uint8], steps: int, lr: float, seed: int) -> Flow:
    """Fit a flow of real images to digits; the parameters kept are the best on the held-out images."""
    rng = np.random.default_rng(seed)
    flow = on_levels(flow)
    flow.initialise(dequantised(fitted[:512], rng))

    def loss(batch: NDArray[np.uint8], *, rng: np.random.Generator) -> Tensor:
        return flow.loss(dequantised(batch, rng)) / (DIMENSIONS * math.log(2))

    parameters = flow.parameters()
    fit(
        loss,
        flow,
        fitted,
        optimizer=Adam(parameters, cosine(lr, steps, warmup=steps // 20)),
        batch_size=64,
        rng=rng,
        steps=steps,
        validate=lambda: bits_per_dim(flow, held_out, np.random.default_rng(0)),
        every=max(1, steps // 10),
        ema=EMA(parameters, 0.9 if steps < 100 else 0.99),
        clip=10,
        unit="bits per dimension",
    )
    return flow
