"""PixelCNN on coloured digits: channels in order or independent, a softmax or a mixture of logistics.

python examples/pixelcnn_colour.py [--seed 0] [--out out/pixelcnn_colour] [--quick]

Every image is an 8×8 digit in a random bright colour on a random dark ground, in 4 levels a channel. Its colours are
known after a few pixels; from then on one channel tells the other two how much ink there is.
"""

import itertools
import math
import time
from functools import partial
from typing import Any

import numpy as np
from common.reporting import arguments, mean_nats, report

from tinygen import plot
from tinygen.data import Images, digits
from tinygen.distributions import DiscretizedLogistics, bits_per_dim
from tinygen.models import PixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

LEVELS = 4
SHAPE = (8, 8, 3)


def coloured(images: Images, rng: np.random.Generator) -> np.ndarray:
    """Colour every digit: the ground's levels are 0 or 1, the ink's 2 or 3, and a pixel is between as it is grey."""
    ground, ink = (rng.integers(low, low + 2, (len(images), 1, 1, 3)) for low in (0, 2))
    return np.rint(ground + (ink - ground) * (images.pixels / 16)).astype(np.uint8)


def main() -> None:
    args = arguments(__doc__ or "", "pixelcnn_colour")
    start, steps = time.perf_counter(), 10 if args.quick else 500
    rng = np.random.default_rng(args.seed)
    train, test = digits("train"), digits("test")
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    x, y = coloured(train, rng), coloured(test, rng)
    order = rng.permutation(len(x))
    fitted, held_out = order[:-144], order[-144:]

    metrics, classes = dict[str, float](), np.repeat(np.arange(10), 12)
    for ordered, output in itertools.product((True, False), (None, DiscretizedLogistics(LEVELS, 5))):
        name = f"{'ordered' if ordered else 'independent'}, {'logistics' if output else 'softmax'}"
        settings: dict[str, Any] = {"channels": 36, "blocks": 4, "first_size": 5, "ordered": ordered, "output": output}
        model = PixelCNN(SHAPE, LEVELS, rng, classes=10, **settings)
        optimizer, ema = Adam(model.parameters(), cosine(1e-2, steps, steps // 20)), EMA(model.parameters(), 0.99)
        validate = partial(mean_nats, model, x[held_out], labels[held_out])
        data = x[fitted], labels[fitted]
        fit(
            model.loss,
            model,
            data,
            optimizer=optimizer,
            batch_size=32,
            rng=rng,
            steps=steps,
            validate=validate,
            every=steps // 10,
            ema=ema,
            clip=100.0,
            unit="nats per image",
        )
        key = name.replace(", ", "_")
        metrics[f"{key}_test_bits_per_dim"] = bits_per_dim(mean_nats(model, y, test_labels), math.prod(SHAPE))
        samples = model.sample(len(classes), rng, classes)
        grid = plot.sample_grid(samples, levels=LEVELS, row_labels=[str(label) for label in range(10)], title=name)
        plot.save(grid, args.out / f"{key}.png")
    metrics["seconds"] = time.perf_counter() - start
    frequencies = np.stack([(x == k).mean(0) + 1 / len(x) for k in range(LEVELS)])
    alone = -np.log2(np.take_along_axis(frequencies / frequencies.sum(0), y.astype(int), 0)).mean()
    yardsticks = {"uniform": math.log2(LEVELS), "every channel of every pixel by itself": float(alone)}
    report(args.out, metrics, yardsticks, "bits per dim")


if __name__ == "__main__":
    main()
