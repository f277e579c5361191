"""Gated PixelCNN beside the same network in PyTorch: same weights, same batch, same number of threads, one process.

A training step (forward, backward, Adam) in float32, as one graph and in as many shards of the batch as there are
threads (what `fit(shards=…)` does), against the better of PyTorch's two memory formats; and sampling, by remembered
activations against the naive sampler in PyTorch.

    python -m benchmarks.pixelcnn [--threads 2] [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.timing import medians
from tinygen import value_and_grad
from tinygen.autograd import Tensor
from tinygen.autograd.kernels.threads import set_threads, threads
from tinygen.models import GatedPixelCNN
from tinygen.models.gated_pixelcnn import GatedLayer
from tinygen.nn import Conv
from tinygen.optim import Adam
from tinygen.training import sharded


class TorchConv(nn.Module):
    """A tinygen convolution in PyTorch: its taps fill a rectangle, which is the kernel; padding puts it in place."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        (top, left), (bottom, right) = conv.taps[0], conv.taps[-1]
        self.padding = (-left, right, -top, bottom)  # a negative width cuts off what no tap looks at
        taps, channels_in, channels_out = conv.w.shape
        height, width = bottom - top + 1, right - left + 1
        assert taps == height * width
        kernel = conv.w.value.reshape(height, width, channels_in, channels_out).transpose(3, 2, 0, 1)
        self.weight = nn.Parameter(torch.from_numpy(kernel.copy()))
        self.bias = nn.Parameter(torch.from_numpy(conv.b.value.copy())) if conv.b is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, self.padding) if any(self.padding) else x, self.weight, self.bias)


class TorchLayer(nn.Module):
    def __init__(self, layer: GatedLayer) -> None:
        super().__init__()
        self.first = layer.first
        self.vertical, self.horizontal = TorchConv(layer.vertical), TorchConv(layer.horizontal)
        self.across, self.skip = TorchConv(layer.across), TorchConv(layer.skip)
        self.residual = TorchConv(layer.residual) if layer.residual else None

    def forward(self, v: torch.Tensor, h: torch.Tensor, skip: torch.Tensor | float) -> tuple[torch.Tensor, ...]:
        v = self.vertical(v if self.first else gate(v))
        features = gate(self.horizontal(h) + self.across(v))
        skip = skip + self.skip(features)
        if self.residual is not None:
            h = self.residual(features) if self.first else h + self.residual(features)
        return v, h, skip


class TorchPixelCNN(nn.Module):
    def __init__(self, model: GatedPixelCNN) -> None:
        super().__init__()
        self.levels = model.output.levels
        self.layers = nn.ModuleList(TorchLayer(layer) for layer in model.layers)
        self.hidden, self.logits = TorchConv(model.hidden), TorchConv(model.logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x * (2 / (self.levels - 1)) - 1
        v, h, skip = image, image, 0.0
        for layer in self.layers:
            v, h, skip = layer(v, h, skip)
        return self.logits(F.relu(self.hidden(F.relu(skip))))


def gate(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


def training_step(batch: int, side: int, channels: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = GatedPixelCNN((side, side, 1), 2, rng, channels=channels, layers=layers)
    x = rng.integers(0, 2, (batch, side, side, 1))
    candidates = {}
    for name, layout in (("torch NCHW", torch.contiguous_format), ("torch NHWC", torch.channels_last)):
        twin = TorchPixelCNN(model).to(memory_format=layout)
        image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)).contiguous(memory_format=layout)
        candidates[name] = torch_step(
            twin, image, torch.from_numpy(x[..., 0]), torch.optim.Adam(twin.parameters(), 1e-3)
        )
    parameters = model.parameters()
    optimizer = Adam(parameters, 1e-3)
    whole = value_and_grad(model.loss, parameters)

    def step(derivative: Callable[..., tuple[Tensor, list[Tensor]]]) -> float:
        loss, gradients = derivative(x, rng=rng)
        optimizer.step(gradients)
        return loss.item()

    ours = {"tinygen": partial(step, whole), "tinygen, shards": partial(step, sharded(whole, threads()))}
    candidates = {**ours, **candidates}
    for _ in range(3):  # the same descent, so the same network
        losses = [candidate() for name, candidate in candidates.items() if name != "tinygen"]
        assert np.ptp(losses) < 1e-4 * abs(losses[0]), losses
    times = medians(candidates, seconds=seconds)
    theirs = min(times["torch NCHW"], times["torch NHWC"])
    figures = " | ".join([f"{times[name]:.1f}" for name in candidates] + [f"{times[n] / theirs:.2f}" for n in ours])
    return f"| {layers} layers of {channels}, {batch} images of {side}×{side} | {figures} |"


def torch_step(twin: nn.Module, image: torch.Tensor, target: torch.Tensor, optimizer: torch.optim.Optimizer):  # type: ignore[no-untyped-def]
    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(image), target, reduction="sum") / len(image)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def sampling(n: int, side: int, channels: int, layers: int) -> str:
    """Seconds for n images; the naive sampler's time is that of `side` pixels spread over the image, scaled up."""
    model = GatedPixelCNN((side, side, 1), 2, np.random.default_rng(0), channels=channels, layers=layers)
    model.sample(n, np.random.default_rng(1))
    ours, naive = [], []
    twins = [TorchPixelCNN(model), TorchPixelCNN(model).to(memory_format=torch.channels_last)]
    for _ in range(3):
        start = time.perf_counter()
        x = model.sample(n, np.random.default_rng(1))
        ours.append(time.perf_counter() - start)
        naive += [naive_torch(twin, x, side) * side for twin in twins]
    a, b = np.median(ours), min(np.median(naive[::2]), np.median(naive[1::2]))
    return (
        f"sampling {n} images of {side}×{side}, {layers} layers of {channels}: "
        f"{a:.3f} s, naive PyTorch {b:.1f} s, {b / a:.0f} × faster"
    )


def naive_torch(twin: TorchPixelCNN, x: np.ndarray, pixels: int) -> float:
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))
    start = time.perf_counter()
    with torch.no_grad():
        for pixel in range(pixels):
            i = pixel % image.shape[2]
            logits = twin(image)[:, :, i, i]
            image[:, 0, i, i] = torch.multinomial(F.softmax(logits, 1), 1)[:, 0].float()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one small row")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    set_threads(arguments.threads)
    print("| training step, ms | tinygen | in shards | torch NCHW | torch NHWC | ratio to the better | in shards |")
    print("|---|---|---|---|---|---|---|")
    if arguments.quick:
        print(training_step(4, 8, 8, 2, 0.01))
        print(sampling(2, 8, 8, 2))
    else:
        print(training_step(64, 8, 32, 5, 1.0), flush=True)
        print(training_step(64, 28, 32, 8, 3.0), flush=True)
        print(training_step(64, 28, 64, 5, 3.0), flush=True)
        print(sampling(16, 28, 32, 8))
