"""PixelCNN and Gated PixelCNN beside the same networks in PyTorch: same weights, same batch, same threads, one process.

A training step (forward, backward, Adam) in float32, as one graph and in shards of the batch (what `fit(shards=…)`
does), against the better of PyTorch's two memory formats; and sampling 1, 16 and 256 images, by remembered activations
against the naive sampler in PyTorch.

    python -m benchmarks.pixelcnn [--threads 2] [--quick]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.side_by_side import arguments, check_same_descent, our_step, torch_step
from benchmarks.timing import medians
from tinygen.kernels.runtime.pool import get_num_threads
from tinygen.models import GatedPixelCNN, PixelCNN
from tinygen.models.autoregressive.gated_pixelcnn import GatedLayer
from tinygen.models.autoregressive.pixelcnn import Block
from tinygen.nn import Conv
from tinygen.nn.masked import MaskedLinear


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
        self.to_horizontal, self.skip = TorchConv(layer.to_horizontal), TorchConv(layer.skip)
        self.residual = TorchConv(layer.residual) if layer.residual else None

    def forward(self, v: torch.Tensor, h: torch.Tensor, skip: torch.Tensor | float) -> tuple[torch.Tensor, ...]:
        v = self.vertical(v if self.first else gated_activation(v))
        features = gated_activation(self.horizontal(h) + self.to_horizontal(v))
        skip = skip + self.skip(features)
        if self.residual is not None:
            h = self.residual(features) if self.first else h + self.residual(features)
        return v, h, skip


class TorchGatedPixelCNN(nn.Module):
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


class TorchMaskedConv(nn.Module):
    """What is left of a masked kernel, from its first row to its last, with zeros where the mask is; C = 1 only."""

    def __init__(self, earlier: Conv, here: MaskedLinear | None) -> None:
        super().__init__()
        (reach, _), (_, channels_in, channels_out) = earlier.taps[0], earlier.w.shape
        kernel, mask = np.zeros((2, 1 - reach, 1 - 2 * reach, channels_in, channels_out), np.float32)
        for (i, j), w in zip(earlier.taps, earlier.w.value, strict=True):
            kernel[i - reach, j - reach], mask[i - reach, j - reach] = w, 1
        if here is not None:
            kernel[-reach, -reach], mask[-reach, -reach] = here.w.value, 1
        self.padding = (-reach, -reach, -reach, 0)
        self.weight = nn.Parameter(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
        self.register_buffer("mask", torch.from_numpy(mask.transpose(3, 2, 0, 1).copy()))
        bias = earlier.b if here is None else here.b
        assert bias is not None
        self.bias = nn.Parameter(torch.from_numpy(bias.value.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, self.padding), self.weight * self.mask, self.bias)


class TorchPoint(nn.Module):
    """A 1×1 convolution."""

    def __init__(self, layer: MaskedLinear) -> None:
        super().__init__()
        assert layer.b is not None
        self.weight = nn.Parameter(torch.from_numpy(layer.w.value.T[:, :, None, None].copy()))
        self.bias = nn.Parameter(torch.from_numpy(layer.b.value.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias)


class TorchBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.reduce, self.expand = TorchPoint(block.reduce), TorchPoint(block.expand)
        self.masked = TorchMaskedConv(block.conv.earlier, block.conv.centre)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.expand(F.relu(self.masked(F.relu(self.reduce(F.relu(h))))))


class TorchPixelCNN(nn.Module):
    def __init__(self, model: PixelCNN) -> None:
        super().__init__()
        self.levels, self.first = model.output.levels, TorchMaskedConv(model.earlier, None)
        self.blocks = nn.Sequential(*(TorchBlock(block) for block in model.blocks))
        self.hidden, self.last = TorchPoint(model.hidden), TorchPoint(model.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.blocks(self.first(x * (2 / (self.levels - 1)) - 1))
        return self.last(F.relu(self.hidden(F.relu(h))))


Model = PixelCNN | GatedPixelCNN


def make(kind: str, side: int, channels: int, layers: int) -> tuple[Model, Callable[[], nn.Module]]:
    """Make a network, and what makes its twin."""
    rng = np.random.default_rng(0)
    if kind == "PixelCNN":
        plain = PixelCNN((side, side, 1), 2, rng, channels=channels, blocks=layers)
        return plain, lambda: TorchPixelCNN(plain)
    gated = GatedPixelCNN((side, side, 1), 2, rng, channels=channels, layers=layers)
    return gated, lambda: TorchGatedPixelCNN(gated)


def gated_activation(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


# A shard for each thread, and more of them where the activations of more pixels than this would leave the caches.
PIXELS_OF_A_SHARD = 16 * 28 * 28


def training_step(kind: str, batch: int, side: int, channels: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(1)
    model, twin_of = make(kind, side, channels, layers)
    x = rng.integers(0, 2, (batch, side, side, 1))
    target, theirs = torch.from_numpy(x[..., 0]), {}
    for name, layout in (("torch NCHW", torch.contiguous_format), ("torch NHWC", torch.channels_last)):
        twin = twin_of().to(memory_format=layout)
        image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)).contiguous(memory_format=layout)

        def loss(twin: nn.Module = twin, image: torch.Tensor = image) -> torch.Tensor:
            return F.cross_entropy(twin(image), target, reduction="sum") / batch

        theirs[name] = torch_step(loss, twin)
    shards = max(get_num_threads(), batch * side**2 // PIXELS_OF_A_SHARD)
    ours = {"tinygen": our_step(model, x, rng=rng), "tinygen, shards": our_step(model, x, rng=rng, shards=shards)}
    steps = {**ours, **theirs}
    check_same_descent(steps)
    times = medians(steps, seconds=seconds)
    best = min(times[name] for name in theirs)
    figures = " | ".join([f"{times[name]:.1f}" for name in steps] + [f"{times[n] / best:.2f}" for n in ours])
    return f"| {kind}, {layers} layers of {channels}, {batch} images of {side}×{side}, {shards} shards | {figures} |"


def sampling(kind: str, n: int, side: int, channels: int, layers: int, rounds: int = 3) -> str:
    """Seconds for n images; the naive sampler's time is that of a diagonal of pixels, scaled up to all of them."""
    model, twin_of = make(kind, side, channels, layers)
    x = model.sample(n, np.random.default_rng(1))
    ours, naive = [], []
    twins = [twin_of(), twin_of().to(memory_format=torch.channels_last)]
    pixels = side if n < 100 else 4  # of so many images, few pixels take long enough to be timed
    for _ in range(rounds):
        start = time.perf_counter()
        x = model.sample(n, np.random.default_rng(1))
        ours.append(time.perf_counter() - start)
        naive += [naive_torch(twin, x, pixels) * side**2 / pixels for twin in twins]
    a, b = np.median(ours), min(np.median(naive[::2]), np.median(naive[1::2]))
    return f"| {kind}, {layers} layers of {channels}, {n} images of {side}×{side} | {a:.3f} | {b:.1f} | {b / a:.0f} |"


def naive_torch(twin: nn.Module, x: np.ndarray, pixels: int) -> float:
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))
    start = time.perf_counter()
    with torch.no_grad():
        for pixel in range(pixels):
            i = pixel * image.shape[2] // pixels
            logits = twin(image)[:, :, i, i]
            image[:, 0, i, i] = torch.multinomial(F.softmax(logits, 1), 1)[:, 0].float()
    return time.perf_counter() - start


if __name__ == "__main__":
    given = arguments(__doc__)
    print("| training step, ms | tinygen | in shards | torch NCHW | torch NHWC | ratio to the better | in shards |")
    print("|---|---|---|---|---|---|---|")
    kinds, steps = ("PixelCNN", "Gated PixelCNN"), [(64, 8, 32, 5, 1.0), (64, 28, 32, 8, 3.0), (64, 28, 64, 5, 3.0)]
    for kind in kinds:
        for step in [(4, 8, 8, 2, 0.01)] if given.quick else steps:
            print(training_step(kind, *step), flush=True)
    print("\n| sampling, s | tinygen | naive PyTorch | × faster |\n|---|---|---|---|")
    for kind in kinds:
        for n in (2,) if given.quick else (1, 16, 256):
            print(sampling(kind, n, *((8, 8, 2) if given.quick else (28, 32, 8))), flush=True)
