"""WaveNet beside the same network in PyTorch: same weights, same batch, same number of threads, one process.

A training step (forward, backward, Adam) in float32, as one graph and in as many shards of the batch as there are
threads (what `fit(shards=…)` does); and sampling, by remembered activations against the naive sampler in PyTorch, which
computes the network anew for every sample, but no more of it than one receptive field.

    python -m benchmarks.wavenet [--threads 2] [--quick]
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.side_by_side import arguments, check_same_descent, our_step, torch_step
from benchmarks.timing import medians
from tinygen.kernels.runtime.pool import get_num_threads
from tinygen.models import WaveNet
from tinygen.models.autoregressive.wavenet import Block
from tinygen.nn import Conv


class TorchConv(nn.Module):
    """A tinygen convolution in PyTorch: taps that are evenly apart, of which the input's padding shifts the last."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        offsets = [offset for (offset,) in conv.taps]
        self.dilation = offsets[1] - offsets[0] if len(offsets) > 1 else 1
        self.padding = (-offsets[0], offsets[-1])  # a negative width cuts off what no tap looks at
        self.weight = nn.Parameter(torch.from_numpy(conv.w.value.transpose(2, 1, 0).copy()))
        self.bias = nn.Parameter(torch.from_numpy(conv.b.value.copy())) if conv.b is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv1d(F.pad(x, self.padding), self.weight, self.bias, dilation=self.dilation)


class TorchBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.dilated, self.skip = TorchConv(block.dilated), TorchConv(block.skip)
        self.residual = TorchConv(block.residual) if block.residual else None

    def forward(self, h: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = self.dilated(h).chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return h if self.residual is None else h + self.residual(z), skip + self.skip(z)


class TorchWaveNet(nn.Module):
    def __init__(self, model: WaveNet) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(model.embedding.w.value.copy()), freeze=False)
        self.first, self.hidden, self.logits = map(TorchConv, (model.first, model.hidden, model.logits))
        self.blocks = nn.ModuleList(map(TorchBlock, model.blocks))

    def forward(self, x: torch.Tensor, only_last: bool = False) -> torch.Tensor:
        h, skip = self.first(self.embedding(x).transpose(1, 2)), torch.zeros(())
        for block in self.blocks:
            h, skip = block(h, skip)
        skip = skip[:, :, -1:] if only_last else skip
        return self.logits(F.relu(self.hidden(F.relu(skip))))


def training_step(batch: int, length: int, channels: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = WaveNet((length,), 256, rng, channels=channels, dilations=[2**i for i in range(layers)])
    x = rng.integers(0, 256, (batch, length))
    twin = TorchWaveNet(model)
    torch_x = torch.from_numpy(x)

    def loss() -> torch.Tensor:
        return F.cross_entropy(twin(torch_x), torch_x, reduction="sum") / batch

    ours = {
        "tinygen": our_step(model, x, rng=rng),
        "tinygen, shards": our_step(model, x, rng=rng, shards=get_num_threads()),
    }
    steps = {**ours, "torch": torch_step(loss, twin)}
    check_same_descent(steps)
    times = medians(steps, seconds=seconds)
    figures = [f"{times[name]:.1f}" for name in times] + [f"{times[name] / times['torch']:.2f}" for name in ours]
    return f"| {layers} layers of {channels}, {batch} sequences of {length} | {' | '.join(figures)} |"


def sampling(n: int, channels: int, layers: int, length: int, naively: int) -> str:
    """Milliseconds per time step of n sequences, once the receptive field is full; medians of three turns."""
    model = WaveNet(
        (length,), 256, np.random.default_rng(0), channels=channels, dilations=[2**i for i in range(layers)]
    )
    twin = TorchWaveNet(model)
    window = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (n, model.receptive_field)))
    ours, theirs = [], []
    for turn in range(3):
        start = time.perf_counter()
        model.sample(n, np.random.default_rng(turn))
        ours.append((time.perf_counter() - start) / length)
        theirs.append(naive_torch(twin, window, naively))
    a, b = np.median(ours) * 1e3, np.median(theirs) * 1e3
    return f"| {n} | {a:.3f} | {b:.1f} | {b / a:.0f} × |"


def naive_torch(twin: TorchWaveNet, window: torch.Tensor, steps: int) -> float:
    """Seconds per step, of a window of one receptive field that moves along, of which the last output is computed."""
    times = []
    with torch.no_grad():
        for _ in range(steps):
            start = time.perf_counter()
            # One zero stands for the sample that is to be drawn, which the first layer does not look at.
            logits = twin(F.pad(window, (0, 1)), only_last=True)[:, :, 0]
            k = torch.multinomial(F.softmax(logits, 1), 1)
            window = torch.cat([window[:, 1:], k], 1)
            times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    given = arguments(__doc__)
    print("| training step, ms | tinygen | in shards | torch | ratio | in shards |")
    print("|---|---|---|---|---|---|")
    if given.quick:
        print(training_step(4, 64, 8, 4, 0.01))
    else:
        print(training_step(8, 2048, 32, 10, 3.0), flush=True)
    print("\n| sequences drawn side by side | tinygen, ms per time step | naive torch | |")
    print("|---|---|---|---|")
    if given.quick:
        print(sampling(2, 8, 4, 20, 3))
    else:
        for n, naively in ((1, 100), (16, 20), (256, 2)):
            print(sampling(n, 32, 10, 1000, naively), flush=True)
