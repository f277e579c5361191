"""GANs beside PyTorch: same weights, same noise, same batch, same number of threads, one process.

One turn of both sides, critic and generator, each forward, backward and Adam, in float32; the Wasserstein critic's
penalty is differentiated twice. PyTorch, too, computes no gradient of the side that does not move; images in the better
of its two memory formats.

    python -m benchmarks.gan [--threads 2] [--quick]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.side_by_side import arguments
from benchmarks.timing import medians
from tinygen import value_and_grad
from tinygen.models import GAN
from tinygen.nn import MLP, Linear, Module
from tinygen.nn.networks.images import ConvDecoder, ImageCritic, ImageGenerator
from tinygen.optim import Adam


def learned(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array.copy(order="C")))


def torch_linear(layer: Linear) -> nn.Linear:
    twin = nn.Linear(*layer.w.shape)
    twin.weight, twin.bias = learned(layer.w.value.T), learned(layer.b.value)  # type: ignore[union-attr]
    return twin


def torch_conv(layer: Any) -> nn.Module:
    _, a, b = layer.w.shape
    kind, n_in, n_out = (nn.ConvTranspose2d, b, a) if layer.transposed else (nn.Conv2d, a, b)
    twin = kind(n_in, n_out, 4, stride=2, padding=1)
    # Weights (taps, a, b): PyTorch's are (out, in, …) of a convolution and (in, out, …) of its transpose, (b, a, …).
    twin.weight = learned(layer.w.value.reshape(4, 4, a, b).transpose(3, 2, 0, 1))
    twin.bias = learned(layer.b.value)
    return twin


class TorchImageGenerator(nn.Module):
    def __init__(self, net: ImageGenerator) -> None:
        super().__init__()
        decoder = net.layers[0]
        assert isinstance(decoder, ConvDecoder)
        self.coarse, self.first = decoder.coarse, torch_linear(decoder.first)
        self.second, self.last = map(torch_conv, decoder.convs)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(z)).view(-1, *self.coarse).permute(0, 3, 1, 2)  # (N, C, H, W), stored as (N, H, W, C)
        return torch.tanh(self.last(F.relu(self.second(h))))


class TorchImageCritic(nn.Module):
    def __init__(self, net: ImageCritic) -> None:
        super().__init__()
        self.first, self.second = map(torch_conv, net.convs)
        self.last = torch_linear(net.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.2)), 0.2)
        return self.last(h.permute(0, 2, 3, 1).flatten(1))


def torch_mlp(net: MLP) -> nn.Sequential:
    hidden = [part for layer in net.layers for part in (torch_linear(layer), nn.ReLU())]
    return nn.Sequential(*hidden, torch_linear(net.last))


TWINS: dict[type, Callable[[Any], nn.Module]] = {
    MLP: torch_mlp,
    ImageGenerator: TorchImageGenerator,
    ImageCritic: TorchImageCritic,
}


class Noise:
    """A generator of random numbers for both: the same codes and the same places on the segments, as they are asked."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def codes(self, n: int, latent: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.normal(size=(n, latent)).astype(np.float32))

    def places(self, n: int, ndim: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.random((n, *(1,) * (ndim - 1))).astype(np.float32))


def torch_turn(gan: GAN, x: np.ndarray, format: torch.memory_format | None) -> Callable[[], list[float]]:
    """One turn as `turn` below, in PyTorch."""
    generator, critic = TWINS[type(gan.generator)](gan.generator), TWINS[type(gan.critic)](gan.critic)
    data = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x)
    if format is not None:
        generator, critic = generator.to(memory_format=format), critic.to(memory_format=format)
        data = data.contiguous(memory_format=format)
    optimizers = [torch.optim.Adam(net.parameters(), 1e-4, (0.5, 0.9)) for net in (critic, generator)]
    noise, n, wasserstein = Noise(1), len(x), gan.objective == "wasserstein"

    def critic_loss() -> torch.Tensor:
        with torch.no_grad():
            fake = generator(noise.codes(n, gan.latent))
        real_out, fake_out = critic(data), critic(fake)
        if not wasserstein:
            return (F.softplus(-real_out) + F.softplus(fake_out)).mean()
        epsilon = noise.places(n, data.ndim)
        between = (epsilon * data + (1 - epsilon) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), [between], create_graph=True)
        excess = (slope.flatten(1).square().sum(1) + 1e-12).sqrt() - 1
        return (fake_out - real_out).mean() + gan.penalty * excess.square().mean()

    def generator_loss() -> torch.Tensor:
        out = critic(generator(noise.codes(n, gan.latent)))
        return -out.mean() if wasserstein else F.softplus(-out).mean()

    def turn() -> list[float]:
        losses = []
        for loss, optimizer, side in zip((critic_loss, generator_loss), optimizers, (critic, generator), strict=True):
            optimizer.zero_grad()
            value = loss()
            value.backward(inputs=list(side.parameters()))
            optimizer.step()
            losses.append(float(value.item()))
        return losses

    return turn


def turn_of(gan: GAN, x: np.ndarray) -> Callable[[], list[float]]:
    sides: list[Any] = [gan.critic, gan.generator]
    optimizers = [Adam(side.parameters(), 1e-4, (0.5, 0.9)) for side in sides]
    losses = (gan.critic_loss, gan.generator_loss)
    derivatives = [value_and_grad(f, o.parameters) for f, o in zip(losses, optimizers, strict=True)]
    rng = np.random.default_rng(1)

    def turn() -> list[float]:
        values = []
        for derivative, optimizer in zip(derivatives, optimizers, strict=True):
            value, gradients = derivative(x, rng=rng)
            optimizer.step(gradients)
            values.append(value.item())
        return values

    return turn


def row(
    name: str, generator: Module, critic: Module, x: np.ndarray, latent: int, objective: str, seconds: float
) -> str:
    gan = GAN(x.shape[1:], latent, generator, critic, objective)  # type: ignore[arg-type]
    formats = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last} if x.ndim == 4 else {"": None}
    turns = {f"torch {key}": torch_turn(gan, x, format) for key, format in formats.items()}  # before a weight moves
    turns = {"tinygen": turn_of(gan, x), **turns}
    for _ in range(3):  # the same game: weights, noise and steps
        losses = [turn() for turn in turns.values()]
        for other in losses[1:]:
            np.testing.assert_allclose(losses[0], other, rtol=1e-4, atol=1e-5)
    times = medians(turns, seconds=seconds)
    ours, theirs = times["tinygen"], min(value for key, value in times.items() if key != "tinygen")
    return f"| {name}, {objective}, batch {len(x)} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |"


if __name__ == "__main__":
    given = arguments(__doc__, quick="small networks")
    print("| turn of critic and generator, ms | tinygen | PyTorch | ratio |\n|---|---|---|---|")
    width, seconds = (8, 0.01) if given.quick else (128, 0.5)
    for objective in ("non-saturating", "wasserstein"):
        rng = np.random.default_rng(0)
        points = rng.normal(size=(256, 2)).astype(np.float32)
        nets = MLP(2, (width, width), 2, rng), MLP(2, (width, width), 1, rng)
        print(row(f"points, MLPs 2 × {width}", *nets, points, 2, objective, seconds), flush=True)
        images = np.tanh(rng.normal(size=(64, 8, 8, 1))).astype(np.float32)
        wide = width // 4
        image_nets = ImageGenerator((8, 8, 1), 16, rng, width=wide), ImageCritic((8, 8, 1), rng, width=wide)
        print(row(f"8×8 images, width {wide}", *image_nets, images, 16, objective, seconds), flush=True)
