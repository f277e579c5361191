"""A RealNVP and a VAE of grey 8×8 digits that are given a context, and their mean log-likelihood.

Shapes: x and samples (N, 8, 8, 1), levels 0…16; context (N, C), or None if C is 0.
"""

import numpy as np

from tinygen import no_grad
from tinygen.autograd import Array
from tinygen.bijections import Chain, Dequantized, Flow, Logit
from tinygen.distributions import DiscretizedLogistics
from tinygen.models import VAE, RealNVP
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder

SHAPE, LEVELS, LATENT = (8, 8, 1), 17, 8
Model = Dequantized | VAE


def real_nvp(context: int, rng: np.random.Generator) -> Dequantized:
    flow = RealNVP(SHAPE, rng, layers=4, scales=2, hidden=32, depth=1, context=context)
    # The margin keeps the logit finite at the ends of [0, 1).
    return Dequantized(Flow(Chain(Logit(0.05), flow.bijection), flow.base, SHAPE), LEVELS)


def vae(context: int, rng: np.random.Generator) -> VAE:
    output = DiscretizedLogistics(LEVELS, components=2)
    encoder = MLPEncoder(SHAPE, 2 * LATENT, rng, levels=LEVELS, context=context)
    decoder = MLPDecoder(LATENT, (*SHAPE, output.width), rng, context=context)
    return VAE(SHAPE, LATENT, encoder, decoder, output, context=context)


def mean_log_prob(model: Model, k: int, rng: np.random.Generator, x: Array, context: Array | None = None) -> float:
    """Return the mean of a lower bound on ln p(x | context), in nats per image.

    k is the number of samples of z of a VAE; four draws of the dequantisation noise are enough for a flow.
    """
    with no_grad():
        if isinstance(model, VAE):
            return float(model.log_prob(x, k, rng, context=context).mean())
        return float(model.log_prob_bound(x, rng, samples=4, context=context).value.mean())
