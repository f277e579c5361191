"""Four models of the 8×8 digits, one of each kind: each is trained on images x and draws as many as there are in x.

Their settings were not searched for, so a rank among them says how these four small models fare, not their kinds.
Shapes: x and what is drawn (N, 8, 8, 1), levels 0…16. `share` is that of the steps.
"""

from collections.abc import Callable

import numpy as np
from common.flow_digits import train as train_flow
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
Drawn = NDArray[np.int64]
Rng = np.random.Generator


def vae(x: Images, share: float, rng: Rng) -> Drawn:
    encoder = ConvEncoder(SHAPE, 2 * LATENT, rng, levels=LEVELS)
    decoder = ConvDecoder(LATENT, (*SHAPE, LEVELS), rng)
    model = VAE(SHAPE, LATENT, encoder, decoder, Categorical(LEVELS))
    learn(model, model.loss, x, int(1000 * share), rng)
    return model.sample(len(x), rng)


def gan(x: Images, share: float, rng: Rng) -> Drawn:
    generator = ImageGenerator(SHAPE, LATENT, rng)
    critic = ImageCritic(SHAPE, rng)
    model = GAN(SHAPE, LATENT, generator, critic, "wasserstein")
    fit(
        [model.critic_loss, model.generator_loss],
        model,
        (x / 8 - 1).astype(np.float32),
        optimizer=[Adam(side.parameters(), 1e-3, (0.5, 0.9)) for side in (critic, generator)],
        batch_size=64,
        turns=[0, 0, 1],
        steps=int(4500 * share),
        rng=rng,
        ema=EMA(model.parameters(), 0.995),
    )
    levels: Drawn = np.rint((model.sample(len(x), rng) + 1) * 8).astype(int)
    return levels


def real_nvp(x: Images, share: float, rng: Rng) -> Drawn:
    flow = RealNVP(SHAPE, rng, layers=4, scales=2, hidden=32, depth=1)
    seed = int(rng.integers(2**32))
    model = train_flow(flow, x[:-144], x[-144:], int(600 * share), 3e-3, seed)
    return np.clip(model.sample(len(x), rng), 0, LEVELS - 0.001).astype(int)


def pixel_cnn(x: Images, share: float, rng: Rng) -> Drawn:
    model = PixelCNN(SHAPE, LEVELS, rng, channels=32, blocks=3, dropout=0.1)
    learn(model, model.loss, x, int(600 * share), rng)
    return model.sample(len(x), rng)


MODELS: dict[str, Callable[[Images, float, Rng], Drawn]] = {
    "VAE": vae,
    "GAN": gan,
    "RealNVP": real_nvp,
    "PixelCNN": pixel_cnn,
}


def learn(model: Module, loss: Callable[..., Tensor], x: Images, steps: int, rng: Rng) -> None:
    adam = Adam(model.parameters(), cosine(3e-3, steps, warmup=steps // 20))
    fit(loss, model, x, optimizer=adam, batch_size=64, steps=steps, rng=rng, ema=EMA(adam.parameters, 0.99), clip=100)
