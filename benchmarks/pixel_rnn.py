"""Pixel RNN in tinygen and PyTorch: a training step on binary images, and sampling.

tinygen's sampler keeps the LSTM's state; the naive sampler evaluates the whole sequence so far for every pixel.

    python -m benchmarks.pixel_rnn [--threads 2] [--quick]
"""

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.twins.pixel_rnn import TorchPixelRNN
from tinygen.models import PixelRNN


def training_step(batch: int, side: int, hidden: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = PixelRNN((side, side, 1), 2, rng, hidden=hidden, layers=layers)
    x = rng.integers(0, 2, (batch, side, side, 1))
    twin = TorchPixelRNN(model)
    target = torch.from_numpy(x.reshape(batch, -1))
    previous = target[:, :-1].float()

    def loss() -> torch.Tensor:
        return F.cross_entropy(twin(previous).transpose(1, 2), target, reduction="sum") / batch

    ours = timing.tinygen_steps(model, x, rng=rng)
    theirs = {"PyTorch": timing.torch_step(loss, twin)}
    label = f"{layers} × {hidden}, {batch} images of {side}×{side}"
    return timing.training_row(label, ours, theirs, seconds=seconds)


def sampling(n: int, side: int, hidden: int) -> str:
    """Compare samplers; the naive one draws only `side` pixels, spread over the image, and its time is scaled up."""
    model = PixelRNN((side, side, 1), 2, np.random.default_rng(0), hidden=hidden)
    twin = TorchPixelRNN(model)
    x = torch.from_numpy(model.sample(n, np.random.default_rng(1)).reshape(n, -1)).float()

    def naive() -> None:
        with torch.no_grad():
            for i in range(side // 2, side * side, side):
                x[:, i] = torch.multinomial(F.softmax(twin(x[:, :i])[:, -1], 1), 1)[:, 0].float()

    ours, theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(1)), naive)
    return timing.sampling_row(f"1 × {hidden}, {n} images of {side}×{side}", ours, theirs * side)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    sizes = [(32, 8, 64, 1, 1.0), (64, 8, 128, 2, 2.0), (32, 28, 128, 1, 3.0)]
    print(timing.STEP_HEADER)
    for size in [(4, 8, 8, 2, 0.01)] if args.quick else sizes:
        print(training_step(*size), flush=True)
    print(timing.SAMPLING_HEADER)
    print(sampling(2, 8, 8) if args.quick else sampling(16, 28, 128))
