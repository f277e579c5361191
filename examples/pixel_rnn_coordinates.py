"""Claim: pixel coordinates as additional inputs improve a pixel RNN drastically.

    python examples/pixel_rnn_coordinates.py [--seeds 20] [--steps 500] [--only SETTING …] [--quick]

Trains:   an LSTM that sees only the previous pixel, with and without coordinates, with the same steps and batches; the
          parameters with the best validation loss are kept. The claim was made for 28×28 binary digits, where the pixel
          above is 28 steps back. The default are 8×8 digits enlarged to 24×24; --only names those of MNIST, which are
          downloaded, and take twice as long. On 8×8 digits, trained for twice the steps, it is only 8 steps back.
Compares: gain = test loss without coordinates − test loss with them. "Drastically" means above 2 nats per image.
Prints:   test losses in nats per image, the gain on large and on small images and the verdict.
Plots:    curves.png (validation loss on large images) and samples.png.
Time:     about 24 minutes on two cores (measured: 23.4 minutes of CPU time; 69 minutes beside other processes).
Source:   van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, for the setting.
"""

from dataclasses import replace
from functools import cache, partial

import numpy as np
from common.baselines import mean_nll
from common.claims import Effect
from common.figures import plot_validation_curves, validation_curve
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.autograd import Array
from tinygen.data import binarized_mnist, digits
from tinygen.models import PixelRNN
from tinygen.optim import Adam, cosine
from tinygen.training import fit

LARGE, SMALL, MNIST = "24x24", "8x8", "MNIST"
WITH, WITHOUT = "with coordinates", "without coordinates"


@cache
def images(size: str) -> tuple[Array, Array]:
    """Return training and test images; for MNIST, the first 1000 validation images take the place of test images."""
    if size == MNIST:
        return binarized_mnist("train").pixels, binarized_mnist("valid").pixels[:1000]
    zoom = 3 if size == LARGE else 1
    train, test = (digits(split, threshold=8).pixels for split in ("train", "test"))
    return tuple(x.repeat(zoom, axis=1).repeat(zoom, axis=2) for x in (train, test))  # type: ignore[return-value]


def train(run: Training) -> Results:
    size, inputs = run.setting.split(", ")
    data, test = images(size)
    run = replace(run, steps=2 * run.steps) if size == SMALL else run
    rng, order = run.rng(), run.rng(1).permutation(len(data))  # the same batches with and without coordinates
    model = PixelRNN(data.shape[1:], 2, run.rng(2), hidden=64, coordinates=inputs == WITH)
    history = fit(
        model.loss,
        model,
        data[order[:-144]],
        optimizer=Adam(model.parameters(), cosine(1e-2, run.steps, warmup=run.steps // 20)),
        batch_size=32,
        rng=rng,
        clip=5.0,
        validate=partial(mean_nll, model, data[order[-144:]]),
        unit="nats per image",
        **run.options(),
    )
    loss = np.mean([mean_nll(model, part) for part in np.array_split(test, 8)])  # in parts to bound memory
    return {"test": float(loss), "curve": validation_curve(history), "samples": model.sample(16, run.rng(3))}


def show(report: Report) -> None:
    report.unit = "nats per image"
    sizes = dict.fromkeys(setting.split(", ")[0] for setting in report.results)
    gains = [
        Effect(f"gain on {size}", report.difference("test", f"{size}, {WITHOUT}", f"{size}, {WITH}"), report.unit)
        for size in dict.fromkeys([LARGE, *sizes])
    ]
    large = [replace(gain, above=2) for gain in gains if SMALL not in gain.name.split()]
    report.decide(*large, also=[gain for gain in gains if SMALL in gain.name.split()])
    for size in sizes:
        names = [name for name in report.results if name.startswith(f"{size}, ")]
        report.save(plot_validation_curves(report, "curve", {name: name for name in names}), f"curves_{size}.png")
        samples = [report.first("samples")[name] for name in names]
        rows = [f"{size}, data", *names]
        report.save_grid(np.concatenate([images(size)[0][:16], *samples]), f"samples_{size}.png", row_labels=rows)


if __name__ == "__main__":
    settings = [f"{size}, {inputs}" for size in (LARGE, SMALL, MNIST) for inputs in (WITH, WITHOUT)]
    study(train, show, settings[:4], optional=settings[4:], steps=500, quick=4, seeds=20)
