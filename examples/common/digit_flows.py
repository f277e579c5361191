"""Flows on 8×8 digits: dequantised, mapped to the reals by a logit, evaluated in bits per dimension."""

import numpy as np
from common.training import Training
from numpy.typing import NDArray

from tinygen import no_grad
from tinygen.autograd import Tensor
from tinygen.bijections import Chain, Dequantized, Flow, Logit
from tinygen.data import digits
from tinygen.distributions import bits_per_dim
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

Pixels = NDArray[np.uint8]

LEVELS = 17
DIMENSIONS = 64


def mean_bits_per_dim(model: Dequantized, pixels: Pixels, rng: np.random.Generator) -> float:
    """Estimate the bound on bits/dim with four dequantisation noise samples per image."""
    with no_grad():
        nats = -model.log_prob_bound(pixels, rng, samples=4).value.mean(dtype=float)
    return bits_per_dim(float(nats), DIMENSIONS)


def split_digits(rng: np.random.Generator) -> tuple[Pixels, Pixels, Pixels]:
    """Return training, validation and test images; validation images are a random tenth of the training set."""
    train, test = digits("train").pixels, digits("test").pixels
    order = rng.permutation(len(train))
    return train[order[:-144]], train[order[-144:]], test


def train_flow(run: Training, flow: Flow, images: Pixels, validation: Pixels, lr: float) -> Dequantized:
    """Fit a flow to digits and keep the parameters with the best validation loss."""
    rng = run.rng(1)
    # The margin keeps the logit finite at the ends of [0, 1).
    model = Dequantized(Flow(Chain(Logit(0.05), flow.bijection), flow.base, flow.shape), LEVELS)
    model.flow.initialise(model.dequantize(images[:512], rng))

    def loss(batch: Pixels, *, rng: np.random.Generator) -> Tensor:
        return model.loss(batch, rng=rng) * bits_per_dim(1.0, DIMENSIONS)

    parameters = model.parameters()
    fit(
        loss,
        model,
        images,
        optimizer=Adam(parameters, cosine(lr, run.steps, warmup=run.steps // 20)),
        batch_size=64,
        rng=rng,
        validate=lambda: mean_bits_per_dim(model, validation, np.random.default_rng(0)),
        ema=EMA(parameters, 0.99),
        clip=10,
        unit="bits per dimension",
        **run.options(),
    )
    return model
