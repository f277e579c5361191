"""MADE beside the same network in PyTorch: same weights, same batch, same number of threads, one process.

A training step (forward, backward, Adam) in float32 on binary images, as one graph and in as many shards of the batch
as there are threads (what `fit(shards=…)` does); and sampling, each unit evaluated once, against the naive sampler.

    python -m benchmarks.made [--threads 2] [--quick]
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
from tinygen.models import MADE
from tinygen.nn.masked import MaskedLinear
from tinygen.nn.masks import made_masks


class TorchMaskedLinear(nn.Linear):
    def __init__(self, layer: MaskedLinear, mask: np.ndarray) -> None:
        super().__init__(*mask.shape)
        assert layer.b is not None
        self.weight = nn.Parameter(torch.from_numpy(layer.w.value.T.copy()))
        self.bias = nn.Parameter(torch.from_numpy(layer.b.value.copy()))
        self.register_buffer("mask", torch.from_numpy(mask.T.astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def torch_twin(model: MADE) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer, mask in zip(model.net.layers, made_masks(model.net.degrees[0]), strict=True):
        layers += [TorchMaskedLinear(layer, mask), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training_step(variables: int, hidden: tuple[int, ...], batch: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = MADE((variables,), 2, rng, hidden=hidden)
    x = rng.integers(0, 2, (batch, variables)).astype(np.uint8)
    twin = torch_twin(model)
    torch_x = torch.from_numpy(x.astype(np.float32))

    def loss() -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(twin(torch_x * 2 - 1), torch_x, reduction="sum") / batch

    ours = {"tinygen": our_step(model, x, rng=rng), "in shards": our_step(model, x, rng=rng, shards=get_num_threads())}
    steps = {**ours, "PyTorch": torch_step(loss, twin)}
    check_same_descent(steps)
    times = medians(steps, rounds=7, seconds=seconds)
    sizes = "-".join(map(str, (variables, *hidden, variables)))
    figures = " | ".join([f"{times[n]:.2f}" for n in times] + [f"{times[n] / times['PyTorch']:.2f}" for n in ours])
    return f"| {sizes}, batch {batch} | {figures} |"


def sampling(n: int, variables: int, hidden: tuple[int, ...]) -> str:
    """Seconds for n examples; the naive sampler is PyTorch's network, evaluated anew for every variable."""
    model = MADE((variables,), 2, np.random.default_rng(0), hidden=hidden)
    twin, ours, naive = torch_twin(model), [], []
    for _ in range(3):
        start = time.perf_counter()
        model.sample(n, np.random.default_rng(1))
        middle = time.perf_counter()
        with torch.no_grad():
            image = torch.zeros(n, variables)
            for i in range(variables):
                image[:, i] = torch.bernoulli(torch.sigmoid(twin(image * 2 - 1)[:, i]))
        ours.append(middle - start)
        naive.append(time.perf_counter() - middle)
    a, b = np.median(ours), np.median(naive)
    return f"sampling {n} examples of {variables} variables: {a:.3f} s, naive PyTorch {b:.2f} s, {b / a:.0f} × faster"


if __name__ == "__main__":
    given = arguments(__doc__)
    print("| training step, ms | tinygen | in shards | PyTorch | ratio | in shards |\n|---|---|---|---|---|---|")
    if given.quick:
        print(training_step(64, (50, 50), 10, 0.01))
        print(sampling(4, 64, (50, 50)))
    else:
        print(training_step(784, (500, 500), 100, 1.0), flush=True)
        print(sampling(64, 784, (500, 500)))
