"""WaveNet in tinygen and PyTorch: a training step on sequences of codes, and sampling.

Two PyTorch samplers: one caches activations, like tinygen's; the naive one evaluates one receptive field per time step.

    python -m benchmarks.wavenet [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import Row, report
from benchmarks.twins.cached import WaveNetSampler, check_logits
from benchmarks.twins.wavenet import TorchWaveNet
from tinygen.models import WaveNet


def make(length: int, channels: int, layers: int) -> WaveNet:
    rng = np.random.default_rng(0)
    return WaveNet((length,), 256, rng, channels=channels, dilations=[2**i for i in range(layers)])


def steps(length: int, channels: int, layers: int, batch: int) -> timing.Steps:
    rng, model = np.random.default_rng(0), make(length, channels, layers)
    x = rng.integers(0, 256, (batch, length))

    def in_torch() -> timing.Step:
        twin, torch_x = TorchWaveNet(model), torch.from_numpy(x)
        return timing.torch_step(lambda: F.cross_entropy(twin(torch_x), torch_x, reduction="sum") / batch, twin)

    return {**timing.tinygen_steps(model, x, rng=rng), "PyTorch": in_torch}


def cases(quick: bool) -> Iterator[timing.Case]:
    batch, length, channels, layers, seconds = (4, 64, 8, 4, 0.01) if quick else (8, 2048, 32, 10, 1.0)
    name = f"WaveNet, {layers} layers of {channels}, {batch} sequences of {length}"
    yield timing.Case(name, batch, partial(steps, length, channels, layers), seconds=seconds)


def sampling(n: int, channels: int, layers: int, length: int, naive_steps: int) -> Row:
    """Compare samplers; the naive one draws only `naive_steps` time steps. All times are scaled to 1000 steps."""
    model = make(length, channels, layers)
    twin = TorchWaveNet(model)
    start = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (n, model.receptive_field)))
    cached = torch.no_grad()(partial(WaveNetSampler(twin).sample, n, length))
    samples, logits = cached()
    check_logits(samples, logits, lambda x: twin(x).transpose(1, 2))

    def naive() -> None:
        window = start
        with torch.no_grad():
            for _ in range(naive_steps):
                # The appended zero is a placeholder for the next sample, which the first layer does not read.
                logits = twin(F.pad(window, (0, 1)), only_last=True)[:, :, 0]
                window = torch.cat([window[:, 1:], torch.multinomial(F.softmax(logits, 1), 1)], 1)

    ours, fast, slow = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(0)), cached, naive)
    scale = 1e3 / length
    name = f"WaveNet, {layers} layers of {channels}, 1000 steps, batch {n}"
    return timing.sampling_row(name, ours * scale, slow * 1e3 / naive_steps, fast * scale)


def rows(quick: bool) -> Iterator[Row]:
    yield from timing.training_rows(cases(quick))
    for n, naive_steps in [(2, 3)] if quick else [(1, 100), (16, 20), (256, 2)]:
        yield sampling(n, *((8, 4, 20) if quick else (32, 10, 1000)), naive_steps)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("wavenet", rows(args.quick), args)
