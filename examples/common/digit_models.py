"""A VAE, a GAN, a RealNVP and a PixelCNN of 8×8 digits: each function trains its model on x and returns len(x) samples.

The settings were not tuned, so a ranking of these four small models is not a ranking of the model classes. The steps of
`run` are scaled for each model.
Shapes: x and the samples (N, 8, 8, 1), levels 0…16.
"""

from collections.abc import Callable

import numpy as np
from common.digit_flows import train_flow
from common.training import Training
from numpy.typing import NDArray

from tinygen.autograd import Tensor
from tinygen.distributions import Categorical
from tinygen.models import GAN, VAE, PixelCNN, RealNVP
from tinygen.nn import Module
from tinygen.nn.networks.images import ConvDecoder, ConvEncoder, ImageCritic, ImageGenerator
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

SHAPE = (8, 8, 1)
LEVELS = 17
LATENT = 16
Images = NDArray[np.uint8]
Samples = NDArray[np.int64]
Rng = np.random.Generator


def vae(x: Images, run: Training, rng: Rng) -> Samples:
    encoder = ConvEncoder(SHAPE, 2 * LATENT, rng, levels=LEVELS)
    decoder = ConvDecoder(LATENT, (*SHAPE, LEVELS), rng)
    model = VAE(SHAPE, LATENT, encoder, decoder, Categorical(LEVELS))
    _fit(model, model.loss, x, run.part("vae", 5 / 3), rng)
    return model.sample(len(x), rng)


def gan(x: Images, run: Training, rng: Rng) -> Samples:
    generator = ImageGenerator(SHAPE, LATENT, rng)
    critic = ImageCritic(SHAPE, rng)
    model = GAN(SHAPE, LATENT, generator, critic, "wasserstein")
    fit(
        [model.critic_loss, model.generator_loss],
        model,
        (x / 8 - 1).astype(np.float32),
        optimizer=[Adam(network.parameters(), 1e-3, (0.5, 0.9)) for network in (critic, generator)],
        batch_size=64,
        turns=[0, 0, 1],
        rng=rng,
        ema=EMA(model.parameters(), 0.995),
        **run.part("gan", 7.5).options(),
    )
    levels: Samples = np.rint((model.sample(len(x), rng) + 1) * 8).astype(int)
    return levels


def real_nvp(x: Images, run: Training, rng: Rng) -> Samples:
    flow = RealNVP(SHAPE, rng, layers=4, scales=2, hidden=32, depth=1)
    model = train_flow(run.part("realnvp"), flow, x[:-144], x[-144:], 3e-3)
    return np.clip(model.sample(len(x), rng), 0, LEVELS - 0.001).astype(int)


def pixel_cnn(x: Images, run: Training, rng: Rng) -> Samples:
    model = PixelCNN(SHAPE, LEVELS, rng, channels=32, blocks=3, dropout=0.1)
    _fit(model, model.loss, x, run.part("pixelcnn"), rng)
    return model.sample(len(x), rng)


MODELS: dict[str, Callable[[Images, Training, Rng], Samples]] = {
    "VAE": vae,
    "GAN": gan,
    "RealNVP": real_nvp,
    "PixelCNN": pixel_cnn,
}


def _fit(model: Module, loss: Callable[..., Tensor], x: Images, run: Training, rng: Rng) -> None:
    adam = Adam(model.parameters(), cosine(3e-3, run.steps, warmup=run.steps // 20))
    fit(
        loss,
        model,
        x,
        optimizer=adam,
        batch_size=64,
        rng=rng,
        ema=EMA(adam.parameters, 0.99),
        clip=100,
        **run.options(),
    )
