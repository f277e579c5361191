"""WaveNet in tinygen and PyTorch: a training step on sequences of codes, and sampling.

tinygen's sampler caches activations; the naive sampler evaluates one receptive field for every time step.

    python -m benchmarks.wavenet [--threads 2] [--quick]
"""

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.twins.wavenet import TorchWaveNet
from tinygen.models import WaveNet


def make(length: int, channels: int, layers: int, rng: np.random.Generator) -> WaveNet:
    return WaveNet((length,), 256, rng, channels=channels, dilations=[2**i for i in range(layers)])


def training_step(batch: int, length: int, channels: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = make(length, channels, layers, rng)
    x = rng.integers(0, 256, (batch, length))
    twin, torch_x = TorchWaveNet(model), torch.from_numpy(x)

    def loss() -> torch.Tensor:
        return F.cross_entropy(twin(torch_x), torch_x, reduction="sum") / batch

    ours = timing.tinygen_steps(model, x, rng=rng)
    theirs = {"PyTorch": timing.torch_step(loss, twin)}
    label = f"{layers} layers of {channels}, {batch} sequences of {length}"
    return timing.training_row(label, ours, theirs, seconds=seconds)


def sampling(n: int, channels: int, layers: int, length: int, naive_steps: int) -> str:
    """Compare samplers; the naive one draws only `naive_steps` time steps. Both times are scaled to 1000 steps."""
    model = make(length, channels, layers, np.random.default_rng(0))
    twin = TorchWaveNet(model)
    start = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (n, model.receptive_field)))

    def naive() -> None:
        window = start
        with torch.no_grad():
            for _ in range(naive_steps):
                # The appended zero is a placeholder for the next sample, which the first layer does not read.
                logits = twin(F.pad(window, (0, 1)), only_last=True)[:, :, 0]
                window = torch.cat([window[:, 1:], torch.multinomial(F.softmax(logits, 1), 1)], 1)

    ours, theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(0)), naive)
    return timing.sampling_row(f"1000 time steps of {n} sequences", 1e3 * ours / length, 1e3 * theirs / naive_steps)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    print(timing.STEP_HEADER)
    print(training_step(4, 64, 8, 4, 0.01) if args.quick else training_step(8, 2048, 32, 10, 3.0), flush=True)
    print(timing.SAMPLING_HEADER)
    for n, naive_steps in [(2, 3)] if args.quick else [(1, 100), (16, 20), (256, 2)]:
        print(sampling(n, *((8, 4, 20) if args.quick else (32, 10, 1000)), naive_steps), flush=True)
