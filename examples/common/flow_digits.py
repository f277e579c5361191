"""The 8×8 digits as flows see them: dequantised, carried to the reals by a logit, measured in bits per dimension."""

import numpy as np
from numpy.typing import NDArray

from tinygen import no_grad
from tinygen.autograd import Tensor
from tinygen.bijections import Chain, Dequantized, Flow, Logit
from tinygen.data import digits
from tinygen.distributions import bits_per_dim
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

LEVELS = 17
DIMENSIONS = 64


def bits(model: Dequantized, pixels: NDArray[np.uint8], rng: np.random.Generator) -> float:
    """Estimate the bound on bits/dim by four draws of the noise for every image."""
    with no_grad():
        nats = -model.log_prob_bound(pixels, rng, samples=4).value.mean(dtype=float)
    return bits_per_dim(float(nats), DIMENSIONS)


def split(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return training images, the tenth that is held out of them, and the test images."""
    train, test = digits("train").pixels, digits("test").pixels
    order = rng.permutation(len(train))
    return train[order[:-144]], train[order[-144:]], test


def train(
    flow: Flow, fitted: NDArray[np.uint8], held_out: NDArray[np.uint8], steps: int, lr: float, seed: int
) -> Dequantized:
    """Fit a flow of real images to digits; the parameters kept are the best on the held-out images."""
    rng = np.random.default_rng(seed)
    # The margin keeps the logit of what lies at the ends of [0, 1) finite.
    model = Dequantized(Flow(Chain(Logit(0.05), flow.bijection), flow.base, flow.shape), LEVELS)
    model.flow.initialise(model.dequantize(fitted[:512], rng))

    def loss(batch: NDArray[np.uint8], *, rng: np.random.Generator) -> Tensor:
        return model.loss(batch, rng=rng) * bits_per_dim(1.0, DIMENSIONS)

    parameters = model.parameters()
    fit(
        loss,
        model,
        fitted,
        optimizer=Adam(parameters, cosine(lr, steps, warmup=steps // 20)),
        batch_size=64,
        rng=rng,
        steps=steps,
        validate=lambda: bits(model, held_out, np.random.default_rng(0)),
        every=max(1, steps // 10),
        ema=EMA(parameters, 0.9 if steps < 100 else 0.99),
        clip=10,
        unit="bits per dimension",
    )
    return model
