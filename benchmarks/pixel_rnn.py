"""Pixel RNN in tinygen and PyTorch: a training step on binary images, and sampling.

tinygen's sampler keeps the LSTM's state; the naive sampler evaluates the whole sequence so far for every pixel.

    python -m benchmarks.pixel_rnn [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import Row, report
from benchmarks.twins.pixel_rnn import TorchPixelRNN
from tinygen.models import PixelRNN


def steps(side: int, hidden: int, layers: int, batch: int) -> timing.Steps:
    rng = np.random.default_rng(0)
    model = PixelRNN((side, side, 1), 2, rng, hidden=hidden, layers=layers)
    x = rng.integers(0, 2, (batch, side, side, 1))

    def in_torch() -> timing.Step:
        twin, target = TorchPixelRNN(model), torch.from_numpy(x.reshape(batch, -1))
        previous = target[:, :-1].float()
        loss = lambda: F.cross_entropy(twin(previous).transpose(1, 2), target, reduction="sum") / batch
        return timing.torch_step(loss, twin)

    return {**timing.tinygen_steps(model, x, rng=rng), "PyTorch": in_torch}


def cases(quick: bool) -> Iterator[timing.Case]:
    sizes = [(4, 8, 8, 2)] if quick else [(32, 8, 64, 1), (64, 8, 128, 2), (32, 28, 128, 1)]
    for batch, side, hidden, layers in sizes:
        name = f"pixel RNN, LSTM {layers} × {hidden}, {batch} images of {side}×{side}"
        yield timing.Case(name, batch, partial(steps, side, hidden, layers), seconds=0.01 if quick else 1.0)


def sampling(n: int, side: int, hidden: int) -> Row:
    """Compare samplers; the naive one draws only `side` pixels, spread over the image, and its time is scaled up."""
    model = PixelRNN((side, side, 1), 2, np.random.default_rng(0), hidden=hidden)
    twin = TorchPixelRNN(model)
    x = torch.from_numpy(model.sample(n, np.random.default_rng(1)).reshape(n, -1)).float()

    def naive() -> None:
        with torch.no_grad():
            for i in range(side // 2, side * side, side):
                x[:, i] = torch.multinomial(F.softmax(twin(x[:, :i])[:, -1], 1), 1)[:, 0].float()

    ours, theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(1)), naive)
    return timing.sampling_row(f"pixel RNN, LSTM 1 × {hidden}, {n} images of {side}×{side}", ours, theirs * side)


def rows(quick: bool) -> Iterator[Row]:
    yield from timing.training_rows(cases(quick))
    yield sampling(*((2, 8, 8) if quick else (16, 28, 128)))


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("pixel_rnn", rows(args.quick), args)
