"""VAE and IWAE in tinygen and PyTorch: a training step on binary images.

The encoder and the decoder each have two hidden layers of 200 tanh units; there are 50 latent dimensions.

    python -m benchmarks.vae [--threads 2] [--quick]
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.twins.layers import mlp
from tinygen.distributions import Bernoulli
from tinygen.models import VAE
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder

Noise = Callable[[tuple[int, ...]], torch.Tensor]


def torch_loss(encoder: nn.Module, decoder: nn.Module, x: torch.Tensor, k: int, noise: Noise) -> torch.Tensor:
    """Return −ELBO with the analytic KL divergence for k = 1, else −IWAE_k; the mean over images, in nats."""
    mean, log_scale = encoder(2 * x - 1).chunk(2, dim=1)
    epsilon = noise((k, *mean.shape))
    z = mean + log_scale.exp() * epsilon
    logits = decoder(z)
    log_p = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)  # (k, N)
    if k == 1:
        kl = 0.5 * ((2 * log_scale).exp() + mean * mean - 1) - log_scale
        return (kl.sum(-1) - log_p[0]).mean()
    log_w = log_p - 0.5 * (z * z).sum(-1) + 0.5 * (epsilon * epsilon).sum(-1) + log_scale.sum(-1)
    return math.log(k) - log_w.logsumexp(0).mean()


def training_step(k: int, batch: int, seconds: float, pixels: int = 784, hidden: int = 200, latent: int = 50) -> str:
    rng = np.random.default_rng(0)
    encoder = MLPEncoder((pixels,), 2 * latent, rng, hidden=(hidden, hidden), levels=2)
    decoder = MLPDecoder(latent, (pixels, 1), rng, hidden=(hidden, hidden))
    model = VAE((pixels,), latent, encoder, decoder, Bernoulli())
    twins = mlp(encoder.mlp, nn.Tanh), mlp(decoder.mlp, nn.Tanh)
    x = rng.integers(0, 2, (batch, pixels)).astype(np.uint8)
    torch_x = torch.from_numpy(x.astype(np.float32))
    rngs = [np.random.default_rng(1) for _ in range(2)]  # the same noise for both

    def same_noise(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(rngs[1].standard_normal(shape).astype(np.float32))

    def step_in_torch(noise: Noise) -> timing.Step:
        return timing.torch_step(lambda: torch_loss(*twins, torch_x, k, noise), *twins)

    steps = {"tinygen": timing.tinygen_step(model, x, rng=rngs[0], k=k), "PyTorch": step_in_torch(same_noise)}
    timing.check_same_losses(steps)
    ours, theirs = timing.tinygen_steps(model, x, rng=rng, k=k), {"PyTorch": step_in_torch(torch.randn)}
    cells = timing.compare(ours, theirs, rounds=7, seconds=seconds)
    return f"| {'VAE' if k == 1 else f'IWAE, k = {k}'}, batch {batch} | {cells} |"


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    print(timing.STEP_HEADER)
    for k, batch in ((1, 4), (3, 4)) if args.quick else ((1, 100), (5, 50), (50, 20), (50, 100)):
        print(training_step(k, batch, 0.01, 16, 8, 2) if args.quick else training_step(k, batch, 1.0), flush=True)
