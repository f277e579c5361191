"""Four models of the 8×8 digits, one of each kind, trained one after another, and images drawn from them.

Their settings were not searched for, so a rank among them says how these four small models fare, not their kinds.
"""

from collections.abc import Callable, Iterator

import numpy as np
from flow_digits import train as train_flow
from numpy.typing import NDArray

from tinygen.autograd import Tensor
from tinygen.distributions import Categorical
from tinygen.models import GAN, VAE, PixelCNN, RealNVP
from tinygen.models.image_networks import ConvDecoder, ConvEncoder, ImageCritic, ImageGenerator
from tinygen.nn import Module
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

SHAPE, LEVELS, LATENT = (8, 8, 1), 17, 16
Levels = NDArray[np.uint8]


def learn(model: Module, loss: Callable[..., Tensor], x: Levels, steps: int, rng: np.random.Generator) -> None:
    adam = Adam(model.parameters(), cosine(3e-3, steps, warmup=steps // 20))
    fit(loss, model, x, optimizer=adam, batch_size=64, steps=steps, rng=rng, ema=EMA(adam.parameters, 0.99), clip=100)


def samples_of_models(
    x: NDArray[np.uint8], share: float, rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Train one model after another on x; draw as many images (N, 8, 8, 1) as there are in x, in levels 0…16."""
    n = len(x)
    encoder, decoder = ConvEncoder(SHAPE, 2 * LATENT, rng, levels=LEVELS), ConvDecoder(LATENT, (*SHAPE, LEVELS), rng)
    vae = VAE(SHAPE, LATENT, encoder, decoder, Categorical(LEVELS))
    learn(vae, vae.loss, x, int(1000 * share), rng)
    yield "VAE", vae.sample(n, rng)
    generator, critic = ImageGenerator(SHAPE, LATENT, rng), ImageCritic(SHAPE, rng)
    gan = GAN(SHAPE, LATENT, generator, critic, "wasserstein")
    sides = [Adam(net.parameters(), 1e-3, (0.5, 0.9)) for net in (critic, generator)]
    fit(
        [gan.critic_loss, gan.generator_loss],
        gan,
        (x / 8 - 1).astype(np.float32),
        optimizer=sides,
        batch_size=64,
        turns=[0, 0, 1],
        steps=int(4500 * share),
        rng=rng,
        ema=EMA(gan.parameters(), 0.995),
    )
    yield "GAN", np.rint((gan.sample(n, rng) + 1) * 8).astype(int)
    flow = RealNVP(SHAPE, rng, layers=4, scales=2, hidden=32, depth=1)
    trained = train_flow(flow, x[:-144], x[-144:], int(600 * share), 3e-3, int(rng.integers(2**32)))
    yield "RealNVP", np.clip(trained.sample(n, rng), 0, LEVELS - 0.001).astype(int)
    pixelcnn = PixelCNN(SHAPE, LEVELS, rng, channels=32, blocks=3, dropout=0.1)
    learn(pixelcnn, pixelcnn.loss, x, int(600 * share), rng)
    yield "PixelCNN", pixelcnn.sample(n, rng)
