"""GANs in tinygen and PyTorch: one update of the critic, then one of the generator.

Both use the same weights and the same noise. The Wasserstein critic has a gradient penalty, which is differentiated
twice. Both compute gradients only for the network that is updated.

    python -m benchmarks.gan [--threads 2] [--quick] [--save]
"""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import report
from benchmarks.twins.gan import TorchImageCritic, TorchImageGenerator
from benchmarks.twins.layers import mlp
from tinygen import value_and_grad
from tinygen.models import GAN
from tinygen.nn import MLP, Module
from tinygen.nn.networks.images import ImageCritic, ImageGenerator
from tinygen.optim import Adam

TWINS: dict[type, Any] = {MLP: mlp, ImageGenerator: TorchImageGenerator, ImageCritic: TorchImageCritic}


def tinygen_updates(gan: GAN, x: np.ndarray) -> timing.Step:
    """Return a function that updates both networks and returns the losses of critic and generator."""
    gan = copy.deepcopy(gan)
    networks: list[Any] = [gan.critic, gan.generator]
    optimizers = [Adam(network.parameters(), 1e-4, (0.5, 0.9)) for network in networks]
    losses = (gan.critic_loss, gan.generator_loss)
    derivatives = [value_and_grad(f, o.parameters) for f, o in zip(losses, optimizers, strict=True)]
    rng = np.random.default_rng(1)

    def update() -> list[float]:
        values = []
        for derivative, optimizer in zip(derivatives, optimizers, strict=True):
            value, gradients = derivative(x, rng=rng)
            optimizer.step(gradients)
            values.append(value.item())
        return values

    return update


def torch_updates(gan: GAN, x: np.ndarray, memory_format: torch.memory_format) -> timing.Step:
    """Return the same function in PyTorch."""
    generator, critic = (TWINS[type(net)](net).to(memory_format=memory_format) for net in (gan.generator, gan.critic))
    data = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x)
    data = data.contiguous(memory_format=memory_format)
    optimizers = [torch.optim.Adam(net.parameters(), 1e-4, (0.5, 0.9), fused=True) for net in (critic, generator)]
    rng, n, wasserstein = np.random.default_rng(1), len(x), gan.objective == "wasserstein"

    def noise() -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=(n, gan.latent)).astype(np.float32))

    def critic_loss() -> torch.Tensor:
        with torch.no_grad():
            fake = generator(noise())
        real_out, fake_out = critic(data), critic(fake)
        if not wasserstein:
            return (F.softplus(-real_out) + F.softplus(fake_out)).mean()
        epsilon = torch.from_numpy(rng.random((n, *(1,) * (data.ndim - 1))).astype(np.float32))
        between = (epsilon * data + (1 - epsilon) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), [between], create_graph=True)
        excess = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt() - 1
        return (fake_out - real_out).mean() + gan.penalty * excess.square().mean()

    def generator_loss() -> torch.Tensor:
        out = critic(generator(noise()))
        return -out.mean() if wasserstein else F.softplus(-out).mean()

    def update() -> list[float]:
        losses = []
        pairs = zip((critic_loss, generator_loss), optimizers, (critic, generator), strict=True)
        for loss, optimizer, network in pairs:
            optimizer.zero_grad()
            value = loss()
            value.backward(inputs=list(network.parameters()))
            optimizer.step()
            losses.append(float(value.item()))
        return losses

    return update


def steps(kind: str, objective: Any, width: int, batch: int) -> timing.Steps:
    rng = np.random.default_rng(0)
    generator: Module
    critic: Module
    if kind == "points":
        x, latent = rng.normal(size=(batch, 2)).astype(np.float32), 2
        generator, critic = MLP(2, (width, width), 2, rng), MLP(2, (width, width), 1, rng)
    else:
        x, latent = np.tanh(rng.normal(size=(batch, 8, 8, 1))).astype(np.float32), 16
        generator, critic = ImageGenerator((8, 8, 1), 16, rng, width=width), ImageCritic((8, 8, 1), rng, width=width)
    gan = GAN(x.shape[1:], latent, generator, critic, objective)
    formats = timing.LAYOUTS.items() if x.ndim == 4 else [("", torch.contiguous_format)]
    theirs = {f"PyTorch, {name}".removesuffix(", "): partial(torch_updates, gan, x, f) for name, f in formats}
    return {"tinygen": partial(tinygen_updates, gan, x), **theirs}


def cases(quick: bool) -> Iterator[timing.Case]:
    for objective in ("non-saturating", "wasserstein"):
        for kind, width, batch in (("points", 8 if quick else 128, 256), ("8×8 images", 2 if quick else 32, 64)):
            name = f"GAN, {objective}, {kind}, width {width}, batch {batch}"
            build = partial(steps, kind, objective, width)
            yield timing.Case(name, batch, build, seconds=0.01 if quick else 0.5, atol=1e-5)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("gan", timing.training_rows(cases(args.quick)), args)
