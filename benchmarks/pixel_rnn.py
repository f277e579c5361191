"""Pixel RNN beside the same network in PyTorch: same weights, same batch, same number of threads, one process.

A training step (forward, backward, Adam) in float32, as one graph and in as many shards of the batch as there are
threads (what `fit(shards=…)` does); and sampling, from remembered states against the naive sampler in PyTorch, which
evaluates the sequence so far for every pixel.

    python -m benchmarks.pixel_rnn [--threads 2] [--quick]
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
from tinygen.models import PixelRNN


class TorchPixelRNN(nn.Module):
    """The LSTMs of a PixelRNN as one nn.LSTM: its gates in the same order, but two biases where one will do."""

    def __init__(self, model: PixelRNN) -> None:
        super().__init__()
        features, hidden = model.lstms[0].w.shape[0], model.logits.w.shape[0]
        self.lstm = nn.LSTM(features, hidden, len(model.lstms), batch_first=True)
        self.logits = nn.Linear(hidden, model.output.width)
        pairs = [(self.logits.weight, model.logits.w.value.T), (self.logits.bias, model.logits.b.value)]  # type: ignore[union-attr]
        for layer, ours in enumerate(model.lstms):
            for name, value in (
                ("weight_ih", ours.w.value.T),
                ("weight_hh", ours.u.value.T),
                ("bias_ih", ours.b.value),
            ):
                pairs.append((getattr(self.lstm, f"{name}_l{layer}"), value))
            idle = getattr(self.lstm, f"bias_hh_l{layer}")
            pairs.append((idle, np.zeros(idle.shape)))
            idle.requires_grad_(False)
        with torch.no_grad():
            for theirs, value in pairs:
                theirs.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self.places = torch.from_numpy(model.coordinates.astype(np.float32))
        self.levels = model.output.levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, V, levels) of variables 0 … V−1, from x (N, V−1) before them."""
        before = F.pad(x * (2 / (self.levels - 1)) - 1, (1, 0))
        places = self.places[: before.shape[1]].expand(len(x), -1, -1)
        return self.logits(self.lstm(torch.cat([before[..., None], places], 2))[0])


def training_step(batch: int, side: int, hidden: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = PixelRNN((side, side, 1), 2, rng, hidden=hidden, layers=layers)
    x = rng.integers(0, 2, (batch, side, side, 1))
    twin = TorchPixelRNN(model)
    target = torch.from_numpy(x.reshape(batch, -1))
    earlier = target[:, :-1].float()

    def loss() -> torch.Tensor:
        return F.cross_entropy(twin(earlier).transpose(1, 2), target, reduction="sum") / batch

    steps = {
        "tinygen": our_step(model, x, rng=rng),
        "tinygen, shards": our_step(model, x, rng=rng, shards=get_num_threads()),
        "torch": torch_step(loss, twin),
    }
    check_same_descent(steps)
    times = medians(steps, seconds=seconds)
    figures = [f"{time:.1f}" for time in times.values()]
    figures += [f"{times[name] / times['torch']:.2f}" for name in ("tinygen", "tinygen, shards")]
    return f"| {layers} × {hidden}, {batch} images of {side}×{side} | {' | '.join(figures)} |"


def sampling(n: int, side: int, hidden: int) -> str:
    """Seconds for n images; the naive sampler's time is that of `side` pixels spread over the image, scaled up."""
    model = PixelRNN((side, side, 1), 2, np.random.default_rng(0), hidden=hidden)
    twin, ours, naive = TorchPixelRNN(model), [], []
    for _ in range(3):
        start = time.perf_counter()
        x = torch.from_numpy(model.sample(n, np.random.default_rng(1)).reshape(n, -1)).float()
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad():
            for i in range(side // 2, side * side, side):
                x[:, i] = torch.multinomial(F.softmax(twin(x[:, :i])[:, -1], 1), 1)[:, 0].float()
        naive.append((time.perf_counter() - start) * side)
    a, b = np.median(ours), np.median(naive)
    return (
        f"sampling {n} images of {side}×{side}, 1 × {hidden}: {a:.3f} s, naive PyTorch {b:.2f} s, {b / a:.0f} × faster"
    )


if __name__ == "__main__":
    given = arguments(__doc__)
    print("| training step, ms | tinygen | in shards | torch | ratio | in shards |")
    print("|---|---|---|---|---|---|")
    if given.quick:
        print(training_step(4, 8, 8, 2, 0.01))
        print(sampling(2, 8, 8))
    else:
        print(training_step(32, 8, 64, 1, 1.0), flush=True)
        print(training_step(64, 8, 128, 2, 2.0), flush=True)
        print(training_step(32, 28, 128, 1, 3.0), flush=True)
        print(sampling(16, 28, 128))
