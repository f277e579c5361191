"""VAE and IWAE beside the same networks in PyTorch: same weights, same batch, same noise, same threads, one process.

A training step (forward, backward, Adam) in float32 on binary images, with tanh networks 784-200-200-50 and back, as
one graph and in as many shards of the batch as there are threads (what `fit(shards=…)` does).

    python -m benchmarks.vae [--threads 2] [--quick]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.side_by_side import arguments
from benchmarks.timing import medians
from tinygen import value_and_grad
from tinygen.autograd import Tensor
from tinygen.distributions import Bernoulli
from tinygen.kernels.runtime.pool import get_num_threads
from tinygen.models import VAE
from tinygen.nn import MLP
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import Adam
from tinygen.training import sharded

Noise = Callable[[tuple[int, ...]], torch.Tensor]


def torch_twin(net: MLP) -> nn.Sequential:
    twins: list[nn.Module] = []
    for layer in [*net.layers, net.last]:
        twin = nn.Linear(*layer.w.shape)
        assert layer.b is not None
        with torch.no_grad():
            twin.weight.copy_(torch.from_numpy(layer.w.value.T.copy()))
            twin.bias.copy_(torch.from_numpy(layer.b.value.copy()))
        twins += [twin, nn.Tanh()]
    return nn.Sequential(*twins[:-1])


def torch_loss(encoder: nn.Module, decoder: nn.Module, x: torch.Tensor, k: int, noise: Noise) -> torch.Tensor:
    mean, log_scale = encoder(2 * x - 1).chunk(2, dim=1)
    z = mean + log_scale.exp() * (drawn := noise((k, *mean.shape)))
    logits = decoder(z)
    log_p = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)  # (k, N)
    if k == 1:
        kl = 0.5 * ((2 * log_scale).exp() + mean * mean - 1) - log_scale
        return (kl.sum(-1) - log_p[0]).mean()
    log_w = log_p - 0.5 * (z * z).sum(-1) + 0.5 * (drawn * drawn).sum(-1) + log_scale.sum(-1)
    return math.log(k) - log_w.logsumexp(0).mean()


def training_step(k: int, batch: int, seconds: float, pixels: int = 784, hidden: int = 200, latent: int = 50) -> str:
    rng = np.random.default_rng(0)
    encoder = MLPEncoder((pixels,), 2 * latent, rng, hidden=(hidden, hidden), levels=2)
    decoder = MLPDecoder(latent, (pixels, 1), rng, hidden=(hidden, hidden))
    model = VAE((pixels,), latent, encoder, decoder, Bernoulli())
    twins = torch_twin(encoder.mlp), torch_twin(decoder.mlp)
    x = rng.integers(0, 2, (batch, pixels)).astype(np.uint8)
    torch_x = torch.from_numpy(x.astype(np.float32))
    torch_optimizer = torch.optim.Adam([p for twin in twins for p in twin.parameters()], 1e-3)
    optimizer, whole = Adam(model.parameters(), 1e-3), value_and_grad(partial(model.loss, k=k), model.parameters())

    def step(derivative: Callable[..., tuple[Tensor, list[Tensor]]], rng: np.random.Generator) -> float:
        loss, gradients = derivative(x, rng=rng)
        optimizer.step(gradients)
        return loss.item()

    def torch_step(noise: Noise = torch.randn) -> float:
        torch_optimizer.zero_grad()
        loss = torch_loss(*twins, torch_x, k, noise)
        loss.backward()
        torch_optimizer.step()
        return float(loss.item())

    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(3):  # the same descent, so the same networks and the same bound
        same = torch_step(lambda shape: torch.from_numpy(theirs.standard_normal(shape).astype(np.float32)))
        np.testing.assert_allclose(step(whole, ours), same, rtol=1e-4)
    tinygen = {"tinygen": partial(step, whole, rng), "in shards": partial(step, sharded(whole, get_num_threads()), rng)}
    times = medians({**tinygen, "PyTorch": torch_step}, rounds=7, seconds=seconds)
    figures = [f"{times[n]:.2f}" for n in times] + [f"{times[n] / times['PyTorch']:.2f}" for n in tinygen]
    return f"| {'VAE' if k == 1 else f'IWAE, k = {k}'}, batch {batch} | {' | '.join(figures)} |"


if __name__ == "__main__":
    given = arguments(__doc__, quick="small rows")
    print("| training step, ms | tinygen | in shards | PyTorch | ratio | in shards |\n|---|---|---|---|---|---|")
    for k, batch in ((1, 4), (3, 4)) if given.quick else ((1, 100), (5, 50), (50, 20), (50, 100)):
        print(training_step(k, batch, 0.01, 16, 8, 2) if given.quick else training_step(k, batch, 1.0), flush=True)
