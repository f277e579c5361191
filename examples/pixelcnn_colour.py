"""Claim: a PixelCNN fits colour images better if each channel depends on the earlier channels of its pixel.

    python examples/pixelcnn_colour.py [--seeds 5] [--steps 300] [--out out/pixelcnn_colour] [--quick]

Trains:   four class-conditional PixelCNNs on 8×8 digits in a random bright colour on a random dark background, with 4
          levels per channel: channels ordered R → G → B or independent given the earlier pixels, with a softmax or a
          mixture of discretised logistics as output. The parameters with the best validation loss are kept.
Compares: gain = test loss with independent channels − test loss with ordered ones, for each output. Once the two
          colours are known from a few pixels, one channel of a pixel largely determines the other two.
Prints:   test losses in bits per dimension, two baselines, both gains and the verdict.
Plots:    samples of each model, one row per class.
Time:     about 2 minutes on two cores (measured: 2.0 minutes of CPU time; 2.3 minutes beside other processes).
Source:   van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016; Salimans, Karpathy, Chen &
          Kingma, "PixelCNN++", 2017, for the discretised logistics.
"""

import math
from functools import partial
from typing import Any

import numpy as np
from common.baselines import mean_nll
from common.claims import Effect
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.data import Images, digits
from tinygen.distributions import DiscretizedLogistics, bits_per_dim
from tinygen.models import PixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

LEVELS, SHAPE, CLASSES = 4, (8, 8, 3), np.repeat(np.arange(10), 12)
OUTPUTS = {"softmax": None, "logistics": DiscretizedLogistics(LEVELS, 5)}


def colour(images: Images, rng: np.random.Generator) -> np.ndarray:
    """Blend a random background (levels 0–1) and a random ink colour (levels 2–3) per image by the grey level."""
    background, ink = (rng.integers(low, low + 2, (len(images), 1, 1, 3)) for low in (0, 2))
    return np.rint(background + (ink - background) * (images.pixels / 16)).astype(np.uint8)


def train(run: Training) -> Results:
    channels, output = run.setting.split(", ")
    rng, train, test = run.rng(), digits("train"), digits("test")
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    x, y, order = colour(train, rng), colour(test, rng), rng.permutation(len(train))
    training, validation = order[:-144], order[-144:]
    settings: dict[str, Any] = {"channels": 36, "blocks": 4, "first_size": 5, "output": OUTPUTS[output]}
    model = PixelCNN(SHAPE, LEVELS, rng, classes=10, ordered=channels == "ordered", **settings)
    fit(
        model.loss,
        model,
        (x[training], labels[training]),
        optimizer=Adam(model.parameters(), cosine(1e-2, run.steps, run.steps // 20)),
        batch_size=32,
        rng=rng,
        validate=partial(mean_nll, model, x[validation], labels[validation]),
        ema=EMA(model.parameters(), 0.98),
        clip=100.0,
        unit="nats per image",
        **run.options(),
    )
    test_loss = bits_per_dim(mean_nll(model, y, test_labels), math.prod(SHAPE))
    frequencies = np.stack([(x == k).mean(0) + 1 / len(x) for k in range(LEVELS)])
    histograms = -np.log2(np.take_along_axis(frequencies / frequencies.sum(0), y.astype(int), 0)).mean()
    return {"test": test_loss, "histograms": histograms, "samples": model.sample(len(CLASSES), run.rng(1), CLASSES)}


def show(report: Report) -> None:
    report.unit, report.baselines = "bits per dimension", {"uniform": math.log2(LEVELS)}
    gains = {name: report.difference("test", f"independent, {name}", f"ordered, {name}") for name in OUTPUTS}
    report.decide(*(Effect(f"gain with {name}", gain, "bits/dim", above=0) for name, gain in gains.items()))
    for name, samples in report.first("samples").items():
        caption = f"Samples, {name.replace(',', ' channels,')} output."
        rows = [f"class {label}" for label in range(10)]
        file = f"{name.replace(', ', '_')}.png"
        report.save_grid(samples, file, levels=LEVELS, row_labels=rows, caption=caption)


if __name__ == "__main__":
    names = [f"{channels}, {output}" for channels in ("ordered", "independent") for output in OUTPUTS]
    study(train, show, names, steps=300, quick=4)
