"""VAE and IWAE in tinygen, PyTorch and JAX (VAE only): a training step on binary images.

The encoder and the decoder each have two hidden layers of 200 tanh units; there are 50 latent dimensions.

    python -m benchmarks.vae [--threads 2] [--quick] [--save]
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import report
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


def steps(k: int, pixels: int, hidden: int, latent: int, batch: int, *, same_noise: bool = False) -> timing.Steps:
    """Return the steps; with `same_noise`, all libraries read the same random numbers, to compare their losses."""
    rng = np.random.default_rng(0)
    encoder = MLPEncoder((pixels,), 2 * latent, rng, hidden=(hidden, hidden), levels=2)
    decoder = MLPDecoder(latent, (pixels, 1), rng, hidden=(hidden, hidden))
    model = VAE((pixels,), latent, encoder, decoder, Bernoulli())
    x = rng.integers(0, 2, (batch, pixels)).astype(np.uint8)

    def numpy_noise() -> Callable[[tuple[int, ...]], np.ndarray]:
        generator = np.random.default_rng(1)
        return lambda shape: generator.standard_normal(shape).astype(np.float32)

    def in_torch() -> timing.Step:
        twins, torch_x = (mlp(encoder.mlp, nn.Tanh), mlp(decoder.mlp, nn.Tanh)), torch.from_numpy(x.astype(np.float32))
        draw = numpy_noise()
        noise = (lambda shape: torch.from_numpy(draw(shape))) if same_noise else torch.randn
        return timing.torch_step(lambda: torch_loss(*twins, torch_x, k, noise), *twins)

    def in_jax() -> timing.Step:
        import jax

        from benchmarks.twins import jax_models as twins

        nets = [twins.mlp([*net.mlp.layers, net.mlp.last], jax.numpy.tanh) for net in (encoder, decoder)]
        floats, draw = x.astype(np.float32), numpy_noise()
        batch_of = (lambda: (floats, draw((1, batch, latent))[0])) if same_noise else lambda: (floats,)
        return twins.training_step(twins.vae_loss(nets[0][1], nets[1][1]), [p for p, _ in nets], batch_of)

    ours = timing.tinygen_steps(model, x, rng=np.random.default_rng(1), k=k)
    ours = {"tinygen": ours["tinygen"]} if same_noise else ours  # shards draw other numbers
    return {**ours, "PyTorch": in_torch, **(timing.if_installed(in_jax) if k == 1 else {})}


def cases(quick: bool) -> Iterator[timing.Case]:
    sizes = (16, 8, 2) if quick else (784, 200, 50)
    for k, batch in ((1, 4), (3, 4)) if quick else ((1, 100), (5, 50), (50, 20), (50, 100)):
        name = f"{'VAE' if k == 1 else f'IWAE, k = {k}'}, batch {batch}"
        build, check = partial(steps, k, *sizes), partial(steps, k, *sizes, same_noise=True)
        yield timing.Case(name, batch, build, check, 0.01 if quick else 0.5, rounds=7)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("vae", timing.training_rows(cases(args.quick)), args)
