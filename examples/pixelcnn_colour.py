"""Claim: a PixelCNN fits colour images better if each channel depends on the earlier channels of its pixel.

    python examples/pixelcnn_colour.py [--seed 0] [--out out/pixelcnn_colour] [--quick]

Trains:   four class-conditional PixelCNNs on 8×8 digits in a random bright colour on a random dark background, with 4
          levels per channel: channels ordered R → G → B or independent given the earlier pixels, with a softmax or a
          mixture of discretised logistics as output. The parameters with the best validation loss are kept.
Compares: the test losses of the four. Once the two colours are known from a few pixels, one channel of a pixel largely
          determines the other two.
Prints:   test losses in bits per dimension and two baselines.
Plots:    samples of each model, one row per class.
Source:   van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016; Salimans, Karpathy, Chen &
          Kingma, "PixelCNN++", 2017, for the discretised logistics.
"""

import itertools
import math
import time
from functools import partial
from typing import Any

import numpy as np
from common.reporting import mean_nll, parse_arguments, report

from tinygen import plot
from tinygen.data import Images, digits
from tinygen.distributions import DiscretizedLogistics, bits_per_dim
from tinygen.models import PixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

LEVELS = 4
SHAPE = (8, 8, 3)


def colour(images: Images, rng: np.random.Generator) -> np.ndarray:
    """Blend a random background (levels 0–1) and a random ink colour (levels 2–3) per image by the grey level."""
    background, ink = (rng.integers(low, low + 2, (len(images), 1, 1, 3)) for low in (0, 2))
    return np.rint(background + (ink - background) * (images.pixels / 16)).astype(np.uint8)


def main() -> None:
    args = parse_arguments(__doc__ or "", "pixelcnn_colour")
    start, steps = time.perf_counter(), 10 if args.quick else 500
    rng = np.random.default_rng(args.seed)
    train, test = digits("train"), digits("test")
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    x, y = colour(train, rng), colour(test, rng)
    order = rng.permutation(len(x))
    training, validation = order[:-144], order[-144:]

    metrics, classes = dict[str, float](), np.repeat(np.arange(10), 12)
    for ordered, output in itertools.product((True, False), (None, DiscretizedLogistics(LEVELS, 5))):
        name = f"{'ordered' if ordered else 'independent'}, {'logistics' if output else 'softmax'}"
        settings: dict[str, Any] = {"channels": 36, "blocks": 4, "first_size": 5, "ordered": ordered, "output": output}
        model = PixelCNN(SHAPE, LEVELS, rng, classes=10, **settings)
        fit(
            model.loss,
            model,
            (x[training], labels[training]),
            optimizer=Adam(model.parameters(), cosine(1e-2, steps, steps // 20)),
            batch_size=32,
            rng=rng,
            steps=steps,
            validate=partial(mean_nll, model, x[validation], labels[validation]),
            every=steps // 10,
            ema=EMA(model.parameters(), 0.99),
            clip=100.0,
            unit="nats per image",
        )
        key = name.replace(", ", "_")
        metrics[f"{key}_test_bits_per_dim"] = bits_per_dim(mean_nll(model, y, test_labels), math.prod(SHAPE))
        samples, rows = model.sample(len(classes), rng, classes), [f"class {label}" for label in range(10)]
        title = f"samples: {name.replace(',', ' channels,')} output"
        grid = plot.sample_grid(samples, levels=LEVELS, row_labels=rows, title=title)
        plot.save(grid, args.out / f"{key}.png")
    metrics["seconds"] = time.perf_counter() - start
    frequencies = np.stack([(x == k).mean(0) + 1 / len(x) for k in range(LEVELS)])
    histograms = -np.log2(np.take_along_axis(frequencies / frequencies.sum(0), y.astype(int), 0)).mean()
    baselines = {"uniform": math.log2(LEVELS), "independent channels and pixels": float(histograms)}
    report(args.out, metrics, baselines, "bits per dimension")


if __name__ == "__main__":
    main()
